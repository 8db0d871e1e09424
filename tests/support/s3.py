"""moto's S3 server as a process of its own; it checks signatures, as a real one does."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

from tests.support.ports import free_port

REGION = "us-east-1"
BUCKET = "bucket"
_SETUP_REQUESTS = 4
"""Those that come before moto begins to ask who is there."""
_ALLOW = {"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Action": "*", "Resource": "*"}}


class S3Server:
    """A running S3 server with one bucket and one user."""

    def __init__(self, endpoint, key, secret, pids):
        self.endpoint, self.key, self.secret = endpoint, key, secret
        self._pids = list(pids)

    def url(self, prefix, *, anonymous=False):
        options = f"endpoint={self.endpoint}&region={REGION}"
        return f"s3://{BUCKET}/{prefix}?{options}" + "&anonymous=true" * anonymous

    def environment(self):
        return {"AWS_ACCESS_KEY_ID": self.key, "AWS_SECRET_ACCESS_KEY": self.secret}

    def client(self):
        import boto3

        return boto3.client("s3", **_login(self.endpoint, self.key, self.secret))

    def put_many(self, prefix, count):
        """That many objects of one byte."""
        client = self.client()
        for number in range(count):
            client.put_object(Bucket=BUCKET, Key=f"{prefix}/{number:05d}", Body=b"x")

    def sizes(self, prefix=""):
        """Bytes by key, as another client sees them."""
        pages = self.client().get_paginator("list_objects_v2")
        found = pages.paginate(Bucket=BUCKET, Prefix=prefix)
        return {o["Key"]: o["Size"] for page in found for o in page.get("Contents", [])}

    def stop(self):
        """Nothing of it runs any more; its connections stay open, unanswered."""
        for pid in self._pids:
            os.kill(pid, signal.SIGSTOP)

    def go_on(self):
        for pid in self._pids:
            os.kill(pid, signal.SIGCONT)


@contextlib.contextmanager
def moto_server():
    """Start it, wait until it answers, make user and bucket."""
    port = free_port()
    endpoint = f"http://127.0.0.1:{port}"
    process = subprocess.Popen(
        [str(Path(sys.executable).parent / "moto_server"), "-H", "127.0.0.1", "-p", str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=os.environ | {"INITIAL_NO_AUTH_ACTION_COUNT": str(_SETUP_REQUESTS)},
    )
    try:
        wait_for(f"{endpoint}/moto-api/data.json", process)
        key, secret = _make_user_and_bucket(endpoint)
        yield S3Server(endpoint, key, secret, [process.pid])
    finally:
        process.kill()
        process.wait()


def _make_user_and_bucket(endpoint):
    import boto3

    login = _login(endpoint, "setup", "setup")
    users = boto3.client("iam", **login)
    users.create_user(UserName="user")
    made = users.create_access_key(UserName="user")["AccessKey"]
    users.put_user_policy(UserName="user", PolicyName="all", PolicyDocument=json.dumps(_ALLOW))
    boto3.client("s3", **login).create_bucket(Bucket=BUCKET)
    return made["AccessKeyId"], made["SecretAccessKey"]


def _login(endpoint, key, secret):
    return {
        "endpoint_url": endpoint,
        "region_name": REGION,
        "aws_access_key_id": key,
        "aws_secret_access_key": secret,
    }


def wait_for(url, process=None, seconds=30):
    """Wait until a server answers."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if process is not None:
            assert process.poll() is None, "the server has ended"
        try:
            urllib.request.urlopen(url, timeout=5).close()
        except urllib.error.HTTPError:
            return  # it answers
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise AssertionError(f"{url} does not answer")
