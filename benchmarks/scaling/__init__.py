"""What more threads, more processes and more samples do to the loader; see `__main__.py`."""
