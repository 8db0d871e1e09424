"""`python -m fmrgb_stream.cli COMMAND ...`, so that launchers of many processes can start it."""

import sys

from fmrgb_stream.cli.main import main

sys.exit(main())
