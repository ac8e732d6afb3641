"""The supervisor behind `rdv serve`: starts command lines, restarts them, stops them in order.

It imports no component. `policy` and `plan` are pure.
"""
