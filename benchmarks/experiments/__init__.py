"""Experiments as a user would do them, for the benchmarks: by the command, in a process of its own."""
