"""`rdv drill` injects faults into a private copy of a decision under load.

The pure modules are `plan` (which faults hit which parts, in which order), `mix` (the shares of the
answers, and when they have recovered) and `verdict` (whether the promises were kept). The others do
the work: `copying`, `copy_server`, `faults`, `damaging`, `load`, `recorded` and `exercises`; `run`
brings them together.
"""
