"""Dataset, or one sample -> tables: the same as `fmrgb inspect`."""

import sys

from fmrgb_stream.cli.main import main

if __name__ == "__main__":
    sys.exit(main(["inspect", *sys.argv[1:]]))
