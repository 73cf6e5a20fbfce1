"""Settings as DVC experiments: planned, found again, run, read."""
