"""The `fmrgb` command: one file a subcommand."""
