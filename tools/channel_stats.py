"""Dataset -> its channel statistics, measured anew: the same as `fmrgb stats`."""

import sys

from fmrgb_stream.cli.main import main

if __name__ == "__main__":
    sys.exit(main(["stats", *sys.argv[1:]]))
