"""One sample -> a lossless video a channel: the same as `fmrgb visualize`."""

import sys

from fmrgb_stream.cli.main import main

if __name__ == "__main__":
    sys.exit(main(["visualize", *sys.argv[1:]]))
