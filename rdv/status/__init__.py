"""Figures about a running decision, for `rdv status`. Pure: lines and results in, figures out.

`lines`    what every process says of itself, about once a second (`control:status`)
`window`   rates, mix and latencies of the results of the last seconds
`models`   what each model does: versions, scores, refusals, failures, lag
"""
