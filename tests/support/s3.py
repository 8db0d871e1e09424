"""moto's S3 server as a process of its own, and the credentials it takes."""

import contextlib
import os
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

from tests.support.ports import free_port
from tests.support.processes import are_gone

KEY, SECRET = "AKIAEXAMPLE", "wJalrXUtnFEMIexamplesecret"


class S3Server:
    """A running server; `endpoint` is its address, `pid` its process."""

    def __init__(self, process, port):
        self._process = process
        self.pid = process.pid
        self.endpoint = f"http://127.0.0.1:{port}"

    def url(self, path):
        return f"s3://{path}?endpoint={self.endpoint}&region=us-east-1"

    def stop(self):
        """Nothing of it runs any more, and connections stay open unanswered."""
        os.kill(self.pid, signal.SIGSTOP)

    def go_on(self):
        os.kill(self.pid, signal.SIGCONT)

    def make_bucket(self, name):
        request = urllib.request.Request(f"{self.endpoint}/{name}", method="PUT", headers=_AUTH)
        urllib.request.urlopen(request, timeout=10).close()


# moto looks at the form of it alone.
_AUTH = {
    "Authorization": (
        f"AWS4-HMAC-SHA256 Credential={KEY}/20200101/us-east-1/s3/aws4_request, "
        "SignedHeaders=host, Signature=00"
    )
}


@contextlib.contextmanager
def moto_server():
    """Start it and wait until it answers."""
    port = free_port()
    process = subprocess.Popen(
        [str(Path(sys.executable).parent / "moto_server"), "-H", "127.0.0.1", "-p", str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    server = S3Server(process, port)
    try:
        _wait_for(server.endpoint, process)
        yield server
    finally:
        process.send_signal(signal.SIGCONT)
        process.kill()
        process.wait()
        assert are_gone([process.pid])


def _wait_for(endpoint, process, seconds=30):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        assert process.poll() is None, "the server has ended"
        with contextlib.suppress(OSError):
            urllib.request.urlopen(f"{endpoint}/moto-api/data.json", timeout=5).close()
            return
        time.sleep(0.1)
    raise AssertionError(f"{endpoint} does not answer")


def list_keys(endpoint, bucket):
    """Sizes by key, by boto3."""
    import boto3

    client = boto3.client(
        "s3",
        endpoint_url=endpoint,
        aws_access_key_id=KEY,
        aws_secret_access_key=SECRET,
        region_name="us-east-1",
    )
    pages = client.get_paginator("list_objects_v2").paginate(Bucket=bucket)
    return {o["Key"]: o["Size"] for page in pages for o in page.get("Contents", [])}
