"""Dataset -> one page to watch and hear it: the same as `fmrgb preview`."""

import sys

from fmrgb_stream.cli.main import main

if __name__ == "__main__":
    sys.exit(main(["preview", *sys.argv[1:]]))
