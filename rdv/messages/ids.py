"""Request ids are 128 random bits, as 32 hex digits. Pure: the caller passes the randomness.

An id cannot be guessed: a process that knows an id may report the request's outcome. Hex is used
rather than base64 because it can be double-clicked and grepped, and never begins with a dash on a
command line.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Self

ID_BYTES = 16
BLOCK_IDS = 256
"""How many ids are made of one draw: the system's generator costs a system call."""

PREFIX_BYTES = 10
_NUMBER_MAX = 2**48 - 1


class RequestIds:
    """A `RequestIds` yields ids without end, made of `draw(n)`, which returns n random bytes.

    One thread at a time. Ids are drawn ahead: after a fork, call `forget` in the child, which would
    repeat the parent's ids otherwise.
    """

    __slots__ = ("_draw", "_ready")

    def __init__(self, draw: Callable[[int], bytes]) -> None:
        self._draw = draw
        self._ready: list[str] = []

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> str:
        if not self._ready:
            digits = self._draw(ID_BYTES * BLOCK_IDS).hex()
            width = 2 * ID_BYTES
            self._ready = [digits[at : at + width] for at in range(0, len(digits), width)]
        return self._ready.pop()

    def forget(self) -> None:
        """Drop the ids that have been drawn ahead."""
        self._ready.clear()


def make_request_id(prefix: bytes, number: int) -> str:
    """Return a predictable id for generated logs, as rdv 0.1.0 made them; a proxy never uses it.

    Raises ValueError when the prefix has not PREFIX_BYTES bytes or the number not 48 bits.
    """
    if len(prefix) != PREFIX_BYTES:
        raise ValueError(f"a prefix has {PREFIX_BYTES} bytes, not {len(prefix)}")
    if not 0 <= number <= _NUMBER_MAX:
        raise ValueError(f"{number} is not between 0 and {_NUMBER_MAX}")
    return f"{prefix.hex()}{number:012x}"
