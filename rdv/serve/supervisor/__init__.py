"""The supervisor behind `rdv serve` starts processes, restarts them, and stops them in order.

It imports no component. `plan` and `scaling` are pure.
"""
