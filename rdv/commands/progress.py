"""Show a progress line on stderr: on terminals only, and only after a second."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Self

from rdv.commands.terminal import fit, is_terminal, width

_FIRST_S = 1.0
_EVERY_S = 0.1


class Progress:
    """Show `describe(done, total)`, for example "checked 3 of 10"; the line is erased at the
    end.
    """

    def __init__(self, describe: Callable[[int, int], str], total: int = 0) -> None:
        self._describe = describe
        self._total = total
        self._done = 0
        self._is_shown = False
        self._is_wanted = is_terminal(sys.stderr)
        self._next_s = time.monotonic() + _FIRST_S

    def advance(self, amount: int = 1) -> None:
        """Add `amount` to what is done; redraw the line at intervals."""
        self._done += amount
        if self._is_wanted and (now_s := time.monotonic()) >= self._next_s:
            self._next_s = now_s + _EVERY_S
            self._is_shown = True
            sys.stderr.write("\r\x1b[K" + fit(self._describe(self._done, self._total), width() - 1))
            sys.stderr.flush()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._is_shown:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()
