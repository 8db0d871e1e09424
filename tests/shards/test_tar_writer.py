"""The tar writer is WebDataset's own, had without its torch."""

import subprocess
import sys


def run(code):
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_it_is_the_code_that_webdataset_exports():
    run(
        "from inspect import getsource\n"
        "from fmrgb_stream.shards.tar_writer import tar_writer_class\n"
        "ours = tar_writer_class()\n"
        "import webdataset\n"
        "assert getsource(ours) == getsource(webdataset.TarWriter)\n"
        "assert tar_writer_class() is webdataset.TarWriter\n"
    )


def test_it_loads_neither_torch_nor_the_package():
    run(
        "import sys\n"
        "from fmrgb_stream.shards.tar_writer import tar_writer_class\n"
        "assert tar_writer_class().__name__ == 'TarWriter'\n"
        "assert not {'torch', 'webdataset'} & set(sys.modules)\n"
    )
