"""The hot path in C: what is usual, in one call; the rest stays in Python.

`NATIVE` is None where it has not been built (no C compiler at the installation), on machines whose
numbers begin at the other end, and with `RDV_NATIVE=0`. Everything works without it, only slower:
whoever calls it has a way of its own, which also does whatever is not usual.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Sequence
from mmap import mmap
from typing import Literal, Protocol, cast

VERSION = 3
"""Counts up whenever a call changes, as in module.c: an extension that was built of other sources
is left alone."""

NO_LINES, ASCII_LINES, OTHER_LINES = 0, 1, 2
"""What `Native.lines` finds."""


class Native(Protocol):
    """What the extension offers. Each call is thread-safe as far as its descriptors are."""

    version: int
    """VERSION of the sources that it was built of."""

    def append(
        self,
        lock_fd: int,
        values_fd: int,
        index_fd: int,
        values: Sequence[bytes],
        index_size: int,
        end: int,
        crc: int,
        time_ns: int,
        now_ns: int,
        end_max: int,
        index_size_max: int,
        roll_at_ns: int,
        first_word: int,
        /,
    ) -> tuple[int, int, int, int] | None:
        """Lock a partition, append a list or tuple of values (that nobody changes meanwhile) behind
        its end, unlock.

        `index_size`, `end`, `crc`, `time_ns`: the end as the caller knows it; `first_word`: the
        tag of the segment's first entry (`Codec`). Returns where the
        batch's entries begin in the index, and `end`, `crc` and `time_ns` behind it. None when
        nothing has been committed: the lock is taken, the end needs care, the segment is full
        (`end_max`, `index_size_max`, `roll_at_ns`), or the values cannot be written. Raises
        OSError when some of the entries may have been written.
        """

    def read(
        self,
        index_fd: int,
        values_fd: int,
        number: int,
        start: int,
        crc: int,
        max_records: int,
        max_bytes: int,
        time_ns: int,
        first_word: int,
        /,
    ) -> tuple[int, list[int], list[int], bytes, int, int, bool] | Literal[False] | None:
        """What follows entry `number`, whose values begin at `start` with the running `crc`, and
        whose time is not before `time_ns`; `first_word` as in `append`.

        Returns how many, their times, their stops in the values, the values, end and CRC behind
        them, and whether that is all there is; None when there is nothing, False when it has to
        be read with care.
        """

    def announce(
        self,
        board: mmap,
        fd: int,
        states_at: int,
        masks_at: int,
        mask: int,
        bells: dict[int, int],
        tick_at: int,
        tick: int,
        /,
    ) -> list[int] | None:
        """Write a tick on the board; then clear and ring who waits for a partition in `mask`, in
        their order, through `bells` (descriptors by slot). Returns the slots that could not be
        rung; None when nobody was, since too many wait.
        """

    def guard(self, board: mmap, /) -> bool:
        """From now on a map whose file is cut short reads as zeros, where the kernel would end the
        process (SIGBUS). False when that cannot be had.
        """

    def unguard(self, board: mmap, /) -> None:
        """Before a guarded map is closed."""

    def remap(self, board: mmap, fd: int, /) -> None:
        """Have a map, at its place, show another file of the same size. Raises OSError."""

    def lines(self, data: bytes, stops: list[int], /) -> int:
        """Whether each of the values that end at `stops` is one line: NO_LINES, ASCII_LINES, or
        OTHER_LINES, whose encoding has to be checked.
        """

    def score_lines(
        self, ids: list[str], middles: list[bytes], results: list[bytes], /
    ) -> list[bytes] | None:
        """A score line of each (`messages.score.ResultLines`); None when an id has to be written
        with care.
        """

    def json_look(self, text: bytes, depth_max: int, /) -> int:
        """How deep a JSON text nests and how large its numbers are: one of `rdv.payload`'s
        PLAIN and LARGE_FLOAT, or WIDE_INTEGER or TOO_DEEP with the position that it was seen at.
        """


def _load() -> Native | None:
    if os.environ.get("RDV_NATIVE") == "0" or sys.byteorder != "little":
        return None
    try:
        native = cast(Native, importlib.import_module("rdv.native._native"))
    except ImportError:
        return None
    return native if native.version == VERSION else None


NATIVE = _load()
