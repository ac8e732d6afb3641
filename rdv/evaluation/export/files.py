"""Write the Parquet files of one table, a new one for each day: `day=2026-11-22/NAME.parquet`."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise
from types import TracebackType
from typing import Any, Self

import numpy as np
import pyarrow.parquet as pq

from rdv.evaluation.export.columns import Table
from rdv.evaluation.export.schema import SCHEMAS, make_batch
from rdv.stream.file.disk import faults

DAY_NS = 86_400 * 10**9


@dataclass
class Written:
    """The totals of a table."""

    rows: int = 0
    files: int = 0
    size_bytes: int = 0
    first_day: str = ""
    last_day: str = ""

    def see(self, day: str) -> None:
        self.first_day = min(self.first_day or day, day)
        self.last_day = max(self.last_day, day)


class DayFiles:
    """Writes batches of one part of a table; one file is open at a time.

    Days are those of `appended`, in UTC. If a clock was set back, a closed day gets another file.
    Raises SystemFaults.
    """

    def __init__(self, root: str, table: Table, part: str, written: Written) -> None:
        self._root = os.path.join(root, table)
        self._schema = SCHEMAS[table]
        self._part = part
        self._written = written
        self._number = 0
        self._day = ""
        self._writer: Any = None
        self._path = ""

    def add(self, columns: Mapping[str, Any]) -> None:
        """Write rows in the given order."""
        days = np.asarray(columns["appended"], np.int64) // DAY_NS
        if not len(days):
            return
        with faults(self._root, "write"):
            batch = make_batch(self._schema, columns)
            cuts = [0, *(np.flatnonzero(np.diff(days)) + 1).tolist(), len(days)]
            for start, stop in pairwise(cuts):
                self._turn_to(_name(int(days[start])))
                self._writer.write_batch(batch.slice(start, stop - start))
        self._written.rows += len(days)

    def _turn_to(self, day: str) -> None:
        if day == self._day:
            return
        self._finish()
        self._written.see(day)
        folder = os.path.join(self._root, f"day={day}")
        os.makedirs(folder, exist_ok=True)
        suffix = f".{self._number}" if self._number else ""
        self._path = os.path.join(folder, f"{self._part}{suffix}.parquet")
        self._writer = pq.ParquetWriter(self._path, self._schema, compression="zstd")
        self._day, self._number = day, self._number + 1

    def _finish(self) -> None:
        writer, self._writer = self._writer, None
        if writer is None:
            return
        writer.close()
        fd = os.open(self._path, os.O_RDONLY)
        try:
            os.fsync(fd)
            self._written.size_bytes += os.fstat(fd).st_size
        finally:
            os.close(fd)
        self._written.files += 1

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with faults(self._root, "write"):
            self._finish()


def write_empty(root: str, table: Table, time_ns: int) -> None:
    """Write a file without rows, so that readers of the table find its columns."""
    folder = os.path.join(root, table, f"day={_name(time_ns // DAY_NS)}")
    with faults(root, "write"):
        os.makedirs(folder, exist_ok=True)
        pq.write_table(SCHEMAS[table].empty_table(), os.path.join(folder, "none.parquet"))


def _name(day: int) -> str:
    return datetime.fromtimestamp(day * 86_400, UTC).strftime("%Y-%m-%d")
