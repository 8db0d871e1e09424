"""Dataset -> what is wrong with it: the same as `fmrgb verify`."""

import sys

from fmrgb_stream.cli.main import main

if __name__ == "__main__":
    sys.exit(main(["verify", *sys.argv[1:]]))
