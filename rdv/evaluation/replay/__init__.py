"""A new model over recorded requests: called as a worker calls it, in a process of its own.

`replay.replay` evaluates, `compare.compare` holds the outcome against what is on record.
"""
