"""Run a new model over recorded requests, called as a worker calls it, in a process of its own.

`replay.replay` evaluates, `compare.compare` compares the results with what is recorded.
"""
