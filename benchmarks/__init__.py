"""One script a question; README.md holds the command, the hardware and the table beside each."""
