"""Write the files of an export: for each table a Parquet file for each day, and a manifest.

    OUT/input/day=2026-11-22/p-8100.0.00000000000000000000.parquet
    OUT/_rdv_export.json             what is there, and when it was made: marks OUT as an export

Everything is written under a temporary name and put into place by `finish`: until then readers see
what was there before. An aborted export removes its part; a killed one leaves a hidden directory
that readers ignore and the next export removes.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any, Self

import numpy as np
import orjson
import pyarrow.parquet as pq

from rdv.analysis.errors import ExportUnderWay, OutputInUse
from rdv.analysis.export.arrow import SCHEMAS, make_batch
from rdv.analysis.export.columns import TABLES, Table
from rdv.system.faults import faults

DAY_NS = 86_400 * 10**9
MANIFEST = "_rdv_export.json"
_HIDDEN = ".rdv-export-"


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

    def __exit__(self, *_: object) -> None:
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


class Place:
    """Locks OUT for one export. Raises OutputInUse, ExportUnderWay, SystemFaults.

    `force` allows other things next to the tables; what is no export is never replaced.
    """

    def __init__(self, out: str, *, force: bool = False) -> None:
        self.out = out
        self._is_new = not os.path.isdir(out)
        with faults(out, "write"):
            os.makedirs(out, exist_ok=True)
            self._fd = os.open(out, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            self._take(force=force)
        except BaseException:
            self._leave()
            raise

    def _take(self, *, force: bool) -> None:
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ExportUnderWay(self.out) from None
        with faults(self.out, "write"):
            if example := next(_inside(self.out), ""):
                raise OutputInUse(self.out, example, in_the_way=True)
            if not force and (example := next(_beside(self.out), "")):
                raise OutputInUse(self.out, example, in_the_way=False)
            for name in os.listdir(self.out):
                if name.startswith(_HIDDEN):
                    shutil.rmtree(os.path.join(self.out, name), ignore_errors=True)
            self.work = tempfile.mkdtemp(prefix=_HIDDEN, dir=self.out)

    def finish(self, tables: Iterable[str], tables_written: dict[str, Any]) -> None:
        """Put the tables into place, each one atomically; others stay. Raises SystemFaults.

        `tables_written` has the manifest's entry of each table.
        """
        manifest = os.path.join(self.out, MANIFEST)
        with faults(self.out, "write"):
            for table in tables:
                new, place = os.path.join(self.work, table), os.path.join(self.out, table)
                if os.path.lexists(place):
                    os.rename(place, os.path.join(self.work, f"{table}.old"))
                os.rename(new, place)
            known = _read_manifest(manifest)
            known["tables"] = {**known.get("tables", {}), **tables_written}
            draft = os.path.join(self.work, MANIFEST)
            with open(draft, "wb") as file:
                file.write(orjson.dumps({"version": 1, **known}, option=orjson.OPT_INDENT_2))
            os.rename(draft, manifest)
            os.fsync(self._fd)

    def _leave(self) -> None:
        work = getattr(self, "work", None)
        if work is not None:
            shutil.rmtree(work, ignore_errors=True)
        if self._is_new:
            with contextlib.suppress(OSError):  # it is not empty, so it stays
                os.rmdir(self.out)
        os.close(self._fd)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._leave()


def _beside(out: str) -> Iterator[str]:
    """Yield what is next to the tables, or may be tables of another program."""
    names = os.listdir(out)
    is_export = MANIFEST in names
    for name in names:
        is_ours = name == MANIFEST or name.startswith(_HIDDEN)
        if not is_ours and not (is_export and name in TABLES):
            yield name


def _inside(out: str) -> Iterator[str]:
    """Yield what is in a table's place and is no export: a decision's streams have these names."""
    for table in TABLES:
        place = os.path.join(out, table)
        if os.path.lexists(place) and not os.path.isdir(place):
            yield table
        for at, _, files in os.walk(place):
            day = os.path.relpath(at, place)
            for file in files:
                if not (day.startswith("day=") and file.endswith(".parquet")):
                    yield os.path.relpath(os.path.join(at, file), out)


def _read_manifest(path: str) -> dict[str, Any]:
    try:
        with open(path, "rb") as file:
            found = orjson.loads(file.read())
    except (FileNotFoundError, orjson.JSONDecodeError):
        return {}
    return found if isinstance(found, dict) and isinstance(found.get("tables"), dict) else {}
