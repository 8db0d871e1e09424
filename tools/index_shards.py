"""WebDataset tars of others -> a dataset: the same as `fmrgb index`."""

import sys

from fmrgb_stream.cli.main import main

if __name__ == "__main__":
    sys.exit(main(["index", *sys.argv[1:]]))
