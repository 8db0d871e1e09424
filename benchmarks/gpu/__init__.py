"""What only a GPU can tell of the DALI pipeline: checks G1 to G11, and its speed. See run.py."""
