"""Clips a second against the peers, the limit and the floor: `python -m benchmarks.throughput`."""
