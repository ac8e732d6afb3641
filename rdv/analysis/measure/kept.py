"""Keep columns of requests, thinned out evenly once there are too many."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Column = npt.NDArray[Any]


class Kept:
    """Keeps every `stride`-th of the rows that are added: at most `limit`. One thread at a time.

    When it is full, every second row is dropped, and only every second one is kept from then on.
    """

    def __init__(self, limit: int) -> None:
        self.count = 0
        """The number of rows that were added."""
        self.stride = 1
        self._limit, self._size = limit, 0
        self._parts: list[tuple[Column, ...]] = []

    def add(self, *columns: Column) -> None:
        """Add rows; there are as many columns, of the same types, at each call."""
        start = -self.count % self.stride
        self.count += len(columns[0])
        part = tuple(column[start :: self.stride] for column in columns)
        if not len(part[0]) and self._parts:
            return
        self._parts.append(part)
        self._size += len(part[0])
        while self._size > self._limit:
            # The rows kept are multiples of twice the stride, counted from the first one.
            self._parts = [tuple(column[::2] for column in self.columns())]
            self._size = len(self._parts[0][0])
            self.stride *= 2

    def columns(self) -> tuple[Column, ...]:
        """Return the columns of what is kept; empty if nothing was ever added."""
        if len(self._parts) == 1:
            return self._parts[0]
        return tuple(np.concatenate(column) for column in zip(*self._parts, strict=True))
