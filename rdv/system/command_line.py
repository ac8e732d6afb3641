"""The command line of this process, as events and logs name it."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Sequence

CHARS_MAX = 500
_words: Sequence[str] = ()


def set_command_line(words: Sequence[str]) -> None:
    """Set the words of this process's command line: `rdv`, a command, its arguments."""
    global _words  # noqa: PLW0603  one per process, as sys.argv is
    _words = tuple(words)


def command_line() -> str:
    """Return the command line, quoted for a shell, cut at CHARS_MAX characters.

    For a process that is not the `rdv` command it is the name of its program.
    """
    if not _words:
        return os.path.basename(sys.argv[0] if sys.argv else "") or "python"
    return shlex.join(_words)[:CHARS_MAX]
