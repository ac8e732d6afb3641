r"""A command is any program that answers lines on stdin with lines on stdout.

    asked      {"id":17,"data":{"amount":12.5}}\n     one row a line; "id" first, no spaces around
    answered   {"id":17,"result":{"score":0.1}}\n     or {"id":17,"error":"why not"}; in any order

A program has to flush after each line. What it writes to stderr is passed on. The end
of its stdin asks it to end.
"""

from __future__ import annotations

from rdv.models.command.model import CommandModel

__all__ = ["CommandModel"]
