"""A model worker: reads the input, refuses what it cannot make, evaluates the rest, reports."""
