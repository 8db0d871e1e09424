"""Ceph's S3 gateway on this machine: one monitor, one store in a file, one gateway, in 15 seconds.

The daemons are the system's (`ceph-mon`, `ceph-osd`, `radosgw`, `ceph-common`), run as ours in the
foreground, with every file in one folder and every port on 127.0.0.1.
"""

import contextlib
import json
import subprocess
import uuid

from tests.support.ports import free_port
from tests.support.s3 import BUCKET, S3Server, wait_for

PROGRAMS = ("ceph-mon", "ceph-osd", "radosgw", "ceph", "radosgw-admin", "monmaptool")
_CONFIG = """
[global]
fsid = {fsid}
mon_host = [v2:127.0.0.1:{mon_port}/0]
public_addr = 127.0.0.1
cluster_addr = 127.0.0.1
# Nobody else is there to ask for a key; and without the next three the gateway waits for one for ever.
auth_cluster_required = none
auth_service_required = none
auth_client_required = none
ms_mon_client_mode = crc
ms_mon_service_mode = crc
ms_mon_cluster_mode = crc
osd_pool_default_size = 1
osd_pool_default_min_size = 1
osd_pool_default_pg_num = 8
osd_pool_default_pgp_num = 8
osd_pool_default_pg_autoscale_mode = off
osd_crush_chooseleaf_type = 0
mon_allow_pool_size_one = true
mon_warn_on_pool_no_redundancy = false
mon_max_pg_per_osd = 1000
run_dir = {folder}
pid_file = {folder}/$name.pid
admin_socket = {folder}/$name.asok
log_file = {folder}/$name.log
mon_data = {folder}/mon
osd_data = {folder}/osd
osd_objectstore = bluestore
bluestore_block_size = 4294967296
osd_memory_target = 1073741824
rgw_frontends = beast endpoint=127.0.0.1:{gateway_port}
rgw_data = {folder}/gateway
rgw_enable_ops_log = false
"""
KEY, SECRET = "AKIACEPHEXAMPLE", "cephExampleSecretKey1234567890"


@contextlib.contextmanager
def ceph_gateway(folder):
    """An `S3Server` with one user and one bucket."""
    fsid, mon_port, gateway_port = str(uuid.uuid4()), free_port(), free_port()
    for name in ("mon", "osd", "gateway"):
        (folder / name).mkdir()
    config = folder / "ceph.conf"
    config.write_text(
        _CONFIG.format(fsid=fsid, mon_port=mon_port, gateway_port=gateway_port, folder=folder)
    )

    def run(*words):
        done = subprocess.run(
            [*words, "-c", config], capture_output=True, text=True, timeout=90, check=False
        )
        assert done.returncode == 0, f"{words}: {done.stderr[-2000:]}"
        return done.stdout

    with contextlib.ExitStack() as stack:

        def start(*words):
            log = stack.enter_context((folder / f"{words[0]}.out").open("wb"))
            process = subprocess.Popen([*words, "-f", "-c", config], stdout=log, stderr=log)
            stack.callback(process.wait)
            stack.callback(process.kill)
            return process

        address = f"[v2:127.0.0.1:{mon_port}]"
        run("monmaptool", "--create", "--fsid", fsid, "--addv", "a", address, folder / "monmap")
        run("ceph-authtool", "--create-keyring", folder / "keyring", "--gen-key", "-n", "mon.",
            "--cap", "mon", "allow *")  # fmt: skip
        run("ceph-mon", "-i", "a", "--mkfs", "--monmap", folder / "monmap",
            "--keyring", folder / "keyring")  # fmt: skip
        start("ceph-mon", "-i", "a")
        run("ceph", "-s")  # waits until the monitor answers
        osd = str(uuid.uuid4())
        run("ceph", "osd", "new", osd, "0")
        run("ceph-osd", "-i", "0", "--mkfs", "--osd-uuid", osd)
        start("ceph-osd", "-i", "0")
        gateway = start("radosgw", "-n", "client.rgw.a")
        endpoint = f"http://127.0.0.1:{gateway_port}"
        wait_for(endpoint, gateway, seconds=90)
        made = run("radosgw-admin", "user", "create", "--uid", "test", "--display-name", "test",
                   "--access-key", KEY, "--secret-key", SECRET)  # fmt: skip
        assert json.loads(made)["user_id"] == "test"
        server = S3Server(endpoint, KEY, SECRET, [gateway.pid])
        server.client().create_bucket(Bucket=BUCKET)
        yield server
