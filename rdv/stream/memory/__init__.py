"""A stream that lives in this process: for tests, and for a decision in one process.

The same contract as the file log, minus durability. It keeps at most `retention_bytes` per
partition (64 MiB unless told otherwise), since nothing may grow without a bound.
"""
