"""A memory stream lives in this process: for tests, and for a decision in one process.

It has the same contract as the file log, except durability. It keeps at most `retention_bytes` per
partition (64 MiB by default), since nothing may grow without a bound.
"""
