"""`rdv drill`: faults, rehearsed on a private copy of a decision under load.

Pure: `plan` (which faults hit which parts, in which order), `mix` (who answers, and when that is
as it was), `verdict` (were the promises kept?). The shell: `copying`, `served`, `hurting`, `load`,
`record`, and `run`, which brings them together.
"""
