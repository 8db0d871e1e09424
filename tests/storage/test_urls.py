"""Roots: what they mean, what is refused, and that no secret of theirs is ever shown."""

import logging
import pickle
import subprocess
import sys
import traceback
from pathlib import Path

import pytest

import fmrgb_stream as fs
from fmrgb_stream.errors import AccessDenied, ConfigError, StorageError
from fmrgb_stream.storage import Store
from fmrgb_stream.storage.retry import RetryPolicy
from fmrgb_stream.storage.urls import parse_location
from tests.support.origin import Origin

PROJECT = Path(__file__).parents[2]
SECRET = "hunter2Secret"
QUICK = RetryPolicy(tries=1, inner_retries=0, read_timeout_seconds=1.0)


def test_options_are_taken_apart():
    url = "s3://bucket/some/prefix/?endpoint=http://host:9000&region=eu-west-1&anonymous=true"
    location = parse_location(url)
    assert (location.bucket, location.prefix) == ("bucket", "some/prefix")
    assert (location.endpoint, location.region) == ("http://host:9000", "eu-west-1")
    assert location.anonymous
    assert location.shown == "s3://bucket/some/prefix"


def test_two_endpoints_are_two_places():
    one, two = (parse_location(f"s3://b/p?endpoint=http://{host}:1") for host in ("x", "y"))
    assert one.identity != two.identity


@pytest.mark.parametrize(
    ("url", "match"),
    [
        ("ftp://host/x", "scheme 'ftp'"),
        ("s3:///x", "bucket is missing"),
        ("s3://bucket/x?place=1", r"\['place'\] are not known; allowed: anonymous"),
        ("s3://bucket/x?anonymous=perhaps", "true or false"),
        ("s3://bucket/x?endpoint=host:9000", "http://"),
        (f"s3://key:{SECRET}@bucket/x", "environment"),
        (f"https://host/x?token={SECRET}", "not known"),
        (f"s3://key:{SECRET}/x@bucket/y", "environment"),
        (f"az://{SECRET}@account/y", "environment"),
        (f"http://user:{SECRET}/x@host/y", "port must be a number"),
        (f"s3://bucket/x?endpoint=http://me:{SECRET}@host:9000", "user or password"),
        ("s3://bucket/x?endpoint=http://", "host is missing"),
        ("s3://bucket/x?endpoint=http://host:99999", "up to 65535"),
        ("s3://bucket/x?endpoint=http://ho st:9", "no name of a host"),
        ("gs://bucket/x?endpoint=http://[::1", "bracket"),
        ("s3://my bucket/x", "letters, digits"),
        ("http://[::1/p", "bracket"),
        ("http://host:99999/p", "up to 65535"),
        ("file://data/set", "file:///data/set"),
    ],
)
def test_what_cannot_be_meant_is_refused_without_its_values(url, match):
    with pytest.raises(ConfigError, match=match) as caught:
        Store(url)
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize("name", ["AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT"])
@pytest.mark.parametrize(
    ("value", "match"),
    [
        ("", "empty; unset it"),
        ("localhost:9000", "must begin with http://"),
        ("http://", "host is missing"),
        ("http://host:99999", "up to 65535"),
        (f"http://me:{SECRET}@host", "user or password"),
    ],
)
def test_an_endpoint_of_the_environment_that_cannot_be_is_refused(name, value, match, monkeypatch):
    monkeypatch.setenv(name, value)
    with pytest.raises(ConfigError, match=match) as caught:
        Store("s3://bucket/x", policy=QUICK).read("a.tar")
    assert name in str(caught.value)
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        "http://[::1]:9000/p",
        "https://user:p%2Fw@my-host.example:80/p",
        "s3://my.bucket-1_x/p?endpoint=http://[::1]:9",
        "az://$root/x",
        "file:///data/set",
        "file://localhost/data/set",
    ],
)
def test_what_is_unusual_but_can_be_meant_is_taken(url):
    parse_location(url)


def test_a_store_goes_to_another_process_with_its_credentials_unseen():
    store = Store(f"https://user:{SECRET}@host/data")
    other = pickle.loads(pickle.dumps(store))
    assert other.url == store.url == "https://host/data"
    assert SECRET not in repr(store._location)


def test_a_mixture_that_cannot_be_is_refused_without_passwords():
    root = f"https://user:{SECRET}@host/data"
    with pytest.raises(ConfigError, match="stands twice") as caught:
        fs.build_loader(sources=[(root, 1.0), (root, 2.0)])
    assert SECRET not in str(caught.value)


def shown_by(error):
    return "".join(traceback.format_exception(error)) + repr(error) + repr(vars(error))


@pytest.mark.parametrize("fault", ["403", "500", "expired", "reset", "401"])
def test_no_error_shows_credentials(fault, monkeypatch, caplog):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIASHOWN")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    monkeypatch.setenv("AWS_SESSION_TOKEN", SECRET)
    with Origin({"a.tar": b"x"}) as origin, caplog.at_level(logging.DEBUG):
        origin.script("a.tar", fault, forever=True)
        store = Store(f"s3://bucket/?endpoint={origin.endpoint}&region=us-east-1", policy=QUICK)
        with pytest.raises(StorageError) as caught:
            store.read("a.tar")
    words = shown_by(caught.value) + caplog.text
    assert SECRET not in words
    assert "AKIASHOWN" not in words


def test_no_error_shows_the_password_of_an_http_server(caplog):
    with Origin({"a.tar": b"x"}) as origin, caplog.at_level(logging.DEBUG):
        origin.script("a.tar", "403", forever=True)
        root = origin.endpoint.replace("//", f"//user:{SECRET}@") + "/bucket"
        with pytest.raises(AccessDenied) as caught:
            Store(root, policy=QUICK).read("a.tar")
    assert SECRET not in shown_by(caught.value) + caplog.text


def test_an_http_server_is_read_with_password_and_prefix():
    with Origin({"some folder/a.tar": b"content"}) as origin:
        root = origin.endpoint.replace("//", f"//user:{SECRET}@") + "/bucket/some%20folder/"
        assert Store(root).read_range("a.tar", start=3, length=4) == b"tent"


def test_endpoint_and_region_come_from_the_environment(monkeypatch):
    with Origin({"a.tar": b"content"}) as origin:
        monkeypatch.setenv("AWS_ENDPOINT_URL", origin.endpoint)
        monkeypatch.setenv("AWS_REGION", "eu-central-1")
        monkeypatch.setenv("AWS_SKIP_SIGNATURE", "true")
        assert Store("s3://bucket").read("a.tar") == b"content"


def run_python(code):
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, cwd=PROJECT
    )


def test_a_local_root_does_not_load_the_client(tmp_path):
    (tmp_path / "a").write_bytes(b"content")
    code = (
        "import sys; from fmrgb_stream.storage import Store; "
        f"Store({str(tmp_path)!r}).read_range('a', start=0, length=3); "
        "assert 'obstore' not in sys.modules and 'fmrgb_stream.storage.remote' not in sys.modules"
    )
    done = run_python(code)
    assert done.returncode == 0, done.stderr


FORK = """
import os, sys
from fmrgb_stream.errors import ConfigError
from fmrgb_stream.storage import Store
url = sys.argv[1] if len(sys.argv) > 1 else {url!r}
used, unused = Store(url), Store(url)
used.read('a.tar')
child = os.fork()
if child == 0:
    for store in (used, unused, None):
        try:
            (store or Store(url)).read('a.tar')
        except ConfigError as error:
            if 'fork' in str(error):
                continue
        os._exit(3)
    os._exit(0)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


def test_a_fork_after_use_gets_an_error_and_does_not_hang():
    with Origin({"a.tar": b"content"}) as origin:
        done = run_python(FORK.format(url=origin.url()))
    assert done.returncode == 0, done.stderr


def test_a_fork_before_any_use_may_read():
    code = (
        "import os, sys; from fmrgb_stream.storage import Store; import obstore\n"
        "child = os.fork()\n"
        "if child == 0: os._exit(0 if Store({url!r}).read('a.tar') == b'content' else 3)\n"
        "sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))"
    )
    with Origin({"a.tar": b"content"}) as origin:
        done = run_python(code.format(url=origin.url()))
    assert done.returncode == 0, done.stderr
