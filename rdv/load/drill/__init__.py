"""`rdv drill` rehearses faults on a private copy of a decision under load.

The pure modules are `plan` (which faults hit which parts, in which order), `mix` (the shares of the
answers, and when they have recovered) and `verdict` (whether the promises were kept). The shell
modules are `copying`, `served`, `hurting`, `load` and `record`; `run` brings them together.
"""
