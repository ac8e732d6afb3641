"""The native extension runs the usual case of the hot path in one C call; Python does the rest.

`NATIVE` is None where it has not been built (no C compiler at the installation), on big-endian
machines, and with `RDV_NATIVE=0`. Everything works without it, only slower: every caller has Python
code of its own, which also handles all other cases.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Sequence
from mmap import mmap
from typing import Any, Literal, Protocol, cast

VERSION = 6
"""The version of the calls, increased whenever one changes, as in module.c: an extension that was
built of other sources is not used."""

NO_LINES, ASCII_LINES, OTHER_LINES = 0, 1, 2
"""The values that `Native.lines` returns."""


class Native(Protocol):
    """`Native` declares the extension's calls. Each is as thread-safe as its descriptors are."""

    version: int
    """The VERSION of the sources that it was built of."""

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
        """Lock a partition, append a list or tuple of values after its end, and unlock it.

        No thread may change the values meanwhile. `index_size`, `end`, `crc`, `time_ns`: the end as
        the caller knows it; `first_word`: the tag of the segment's first entry (`Codec`). Returns
        where the batch's entries begin in the index, and `end`, `crc` and `time_ns` after it.
        Returns None when nothing has been committed: the lock is taken, the end needs care, the
        segment is full (`end_max`, `index_size_max`, `roll_at_ns`), or the values cannot be
        written. Raises OSError when some of the entries may have been written.
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
        """Read the records from entry `number` on.

        The values begin at `start` with the running `crc`, and no time is before `time_ns`;
        `first_word` as in `append`. Returns how many records there are, their times, their stops in
        the values, the values, end and CRC after them, and whether there are no more; None when
        the index ends at entry `number`, False when they must be read with care.
        """

    def announce(
        self,
        board: mmap,
        fd: int,
        states_at: int,
        masks_at: int,
        mask: int,
        fifos: dict[int, int],
        tick_at: int,
        tick: int,
        /,
    ) -> list[int] | None:
        """Write a tick on the board, then notify the readers that wait for a partition in `mask`.

        The readers' states are cleared, and they are notified in the order of their priorities
        through `fifos` (descriptors by slot). Returns the slots that could not be notified; None
        when none was, as too many wait.
        """

    def guard(self, board: mmap, /) -> bool:
        """Make a map of a truncated file read as zeros; otherwise the kernel ends the process.

        The kernel's signal is SIGBUS. Returns False when the map cannot be guarded.
        """

    def unguard(self, board: mmap, /) -> None:
        """Stop guarding a map, before it is closed."""

    def remap(self, board: mmap, fd: int, /) -> None:
        """Replace a map at its address by one of another file of the same size. Raises OSError."""

    def lines(self, data: bytes, stops: list[int], /) -> int:
        """Check whether each of the values that end at `stops` is one line.

        Returns NO_LINES, ASCII_LINES, or OTHER_LINES, whose encoding must be checked.
        """

    def score_lines(
        self, ids: list[str], middles: list[bytes], results: list[bytes], /
    ) -> list[bytes] | None:
        """Return the score lines (`messages.score.ResultLines`); None when an id needs escaping."""

    def json_look(self, text: bytes, depth_max: int, /) -> int:
        """Check how deep a JSON text nests and how large its numbers are.

        Returns `rdv.payload`'s PLAIN or LARGE_FLOAT, or WIDE_INTEGER or TOO_DEEP with its position.
        """

    def columns(self, names: list[str] | None, count: int, /) -> object | None:
        """Return the columns of a matrix for `rows`; without names it reads arrays only.

        Returns None when the names cannot be compared byte by byte: one occurs twice, or has a
        quote.
        """

    def rows(self, columns: object, rows: list[Any], matrix: Any, fills: bool, /) -> bool:
        """Read JSON objects, or JSON arrays, of plain numbers into a matrix of doubles.

        The rows are bytes or other buffers, the matrix is a writable one: a numpy array.

        `true` is 1, `null` is NaN, fields that are no column are ignored; with `fills` a column
        that is not there is NaN as well. Returns False when a row has anything else, and Python
        has to read all of them; parts of the matrix are written then.
        """

    def spawn(
        self,
        candidates: Sequence[bytes],
        words: Sequence[bytes],
        environment: Sequence[bytes] | None,
        directory: bytes,
        fds: Sequence[int],
        end_signal: int,
        /,
    ) -> int:
        """Start a program in a session of its own: the first of the `candidates` that exists.

        `fds` become its stdin, stdout and stderr; the fourth is kept open by its number (-1:
        none). `environment` (NAME=VALUE) is this process's own for None. The kernel sends it
        `end_signal` (0: nothing) when the calling thread ends. All lists are lists. Returns its
        pid, or the number of the error, negative. Linux only.
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
