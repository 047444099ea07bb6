"""The tasks of the benchmark: what they are, how they are built, how they lie on disk."""
