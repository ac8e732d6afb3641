"""What a process that follows a decision saves: its positions, with what it has computed."""

from __future__ import annotations

import os
import zlib
from base64 import b85decode, b85encode
from typing import TypeVar

import msgspec
import numpy as np
import numpy.typing as npt

from rdv.system.faults import faults

_T = TypeVar("_T")


class InputState(msgspec.Struct, frozen=True):
    """The requests of one partition of the input that have not been handed on yet."""

    first: int
    """The lowest offset that has not been handed on."""
    next: int
    """The next offset to read."""
    open: str = ""
    """Which offsets from `first` to `next` have not been handed on: packed bits, as text."""

    @staticmethod
    def of(next_offset: int, open_offsets: npt.NDArray[np.int64]) -> InputState:
        """Return the state of a partition with these open offsets."""
        if not len(open_offsets):
            return InputState(next_offset, next_offset)
        first = int(open_offsets.min())
        bits = np.zeros(next_offset - first, bool)
        bits[open_offsets - first] = True
        return InputState(
            first, next_offset, b85encode(zlib.compress(np.packbits(bits).tobytes())).decode()
        )

    def open_offsets(self) -> npt.NDArray[np.int64]:
        """Return the offsets that have not been handed on. Raises ValueError, zlib.error."""
        count = self.next - self.first
        if not count or not self.open:
            return np.empty(0, np.int64)
        packed = np.frombuffer(zlib.decompress(b85decode(self.open)), np.uint8)
        return self.first + np.flatnonzero(np.unpackbits(packed, count=count)).astype(np.int64)


class FollowState(msgspec.Struct, frozen=True):
    """The positions of a `Follower`. Partitions are named "topic/number"."""

    input: dict[str, InputState] = {}
    next: dict[str, dict[str, int]] = {}
    """By stream, for each partition the next offset to read."""
    again: dict[str, dict[str, int]] = {}
    """By stream, from where to read again: reports on requests that are still open."""
    unanswered: list[str] = []
    """The ids of the last requests that were handed on without an answer."""


def save(path: str, state: msgspec.Struct) -> None:
    """Replace the file, so that it has the old content or the new one. Raises SystemFaults.

    For one process at a time: the scratch file has one name, so that kills leave no more than one.
    """
    scratch = f"{path}.new"
    with faults(path, "write"):
        os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
        fd = os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with open(fd, "wb") as file:
            file.write(msgspec.json.encode(state))
        os.rename(scratch, path)


def load(path: str, kind: type[_T]) -> _T | None:
    """Return what was saved; None if there is nothing, or nothing that can be used.

    Raises SystemFaults where the file is there and cannot be read.
    """
    with faults(path, "read"):
        try:
            with open(path, "rb") as file:
                return msgspec.json.decode(file.read(), type=kind)
        except (FileNotFoundError, msgspec.DecodeError):
            return None
