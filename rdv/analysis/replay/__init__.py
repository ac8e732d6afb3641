"""Run a new model over recorded requests, called as a worker calls it, in a process of its own.

`job.ReplayJob` is the whole; `study` and `paced` evaluate, `compare` compares the results with what
is recorded, `result` has the findings.
"""
