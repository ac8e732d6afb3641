"""A column of repeated names is stored as codes, and the names that they stand for."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

NONE = -1
"""The code of a missing name."""


class Names(dict[Any, int]):
    """Codes by name; a new name gets the next code. The code of None is `NONE`."""

    def __init__(self, names: Iterable[str] = ()) -> None:
        super().__init__({None: NONE})
        for name in names:
            self[name]

    def __missing__(self, name: Any) -> int:
        code = self[name] = len(self) - 1
        return code

    def coded(self, values: Sequence[Any]) -> Coded:
        """Return a column of these values."""
        codes = np.fromiter(map(self.__getitem__, values), np.int32, len(values))
        return Coded(codes, self.names())

    def names(self) -> tuple[str, ...]:
        return tuple(name for name in self if name is not None)


@dataclass(frozen=True)
class Coded:
    """A column of codes: `codes[row]` is an index into `names`, or NONE."""

    codes: npt.NDArray[np.int32]
    names: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.codes)

    def at(self, row: int) -> str | None:
        code = int(self.codes[row])
        return None if code == NONE else self.names[code]

    def take(self, rows: Any) -> Coded:
        return Coded(self.codes[rows], self.names)

    def counts(self) -> dict[str, int]:
        """Return how often each name occurs, for names that do."""
        counts = np.bincount(self.codes[self.codes != NONE], minlength=len(self.names))
        return {name: int(count) for name, count in zip(self.names, counts, strict=True) if count}

    def recoded(self, names: Names) -> npt.NDArray[np.int32]:
        """Return the codes of the same column for other names."""
        table = np.array([*(names[name] for name in self.names), NONE], np.int32)
        return table[self.codes]


def concat(columns: Sequence[Coded]) -> Coded:
    """Concatenate several columns."""
    names = Names()
    codes = [column.recoded(names) for column in columns]
    return Coded(np.concatenate(codes) if codes else np.empty(0, np.int32), names.names())
