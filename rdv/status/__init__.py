"""Computes figures about a running decision, for `rdv status`, from lines and results. Pure.

- `lines`: the status of every process, about once a second (`control:status`)
- `window`: rates, mix and latencies of the results of the last seconds
- `models`: the figures of each model: versions, scores, refusals, failures, lag
"""
