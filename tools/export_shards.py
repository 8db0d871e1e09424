"""Dataset -> files that other programs read: the same as `fmrgb export`."""

import sys

from fmrgb_stream.cli.main import main

if __name__ == "__main__":
    sys.exit(main(["export", *sys.argv[1:]]))
