"""Planned clips -> batches: one contract, two executions."""
