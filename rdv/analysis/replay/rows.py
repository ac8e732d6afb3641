"""Write a replay's outcome of each request to a file and for the comparison."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator, Sequence
from itertools import chain
from typing import Any, NamedTuple, Self

import numpy as np
import numpy.typing as npt
import pyarrow.parquet as pq

from rdv.analysis.export.arrow import Answers, make_batch, schema_of
from rdv.analysis.replay.columns import COLUMNS
from rdv.system.faults import faults

SCHEMA = schema_of(COLUMNS)
GROUP_ROWS = 65_536
SPILL_ROWS = 65_536
SPILL = np.dtype([("id", "S64"), ("time_ns", "i8"), ("value", "f8"), ("code", "u1")])
"""One request as it is kept for the comparison."""


class Row(NamedTuple):
    """One request's outcome: a result, an error or a refusal; none if nothing was returned."""

    id: str
    time_ns: int
    result: bytes | None = None
    error: str | None = None
    refusal: str | None = None
    evaluation_ms: float | None = None
    batch_size: int | None = None
    waited_ms: float | None = None


class ResultFile:
    """The rows as a Parquet file, which appears only when it is complete. Raises SystemFaults."""

    def __init__(self, path: str, version: str) -> None:
        self._path, self._version = path, version
        self._answers = Answers()
        self._rows: list[Row] = []
        with faults(path, "write"):
            fd, self._draft = tempfile.mkstemp(
                prefix=".rdv-replay-", suffix=".parquet", dir=os.path.dirname(path) or "."
            )
            os.close(fd)
            self._writer = pq.ParquetWriter(self._draft, SCHEMA, compression="zstd")

    def add(self, rows: Sequence[Row]) -> None:
        self._rows += rows
        if len(self._rows) >= GROUP_ROWS:
            self._flush()

    def _flush(self) -> None:
        rows, self._rows = self._rows, []
        values: dict[str, Any] = {
            name: [getattr(row, name) for row in rows]
            for name in ("id", "error", "refusal", "evaluation_ms", "batch_size", "waited_ms")
        }
        values |= self._answers.columns(row.result for row in rows)
        values["time"] = [row.time_ns for row in rows]
        values["version"] = [self._version] * len(rows)
        with faults(self._path, "write"):
            self._writer.write_batch(make_batch(SCHEMA, values))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        try:
            with faults(self._path, "write"):
                if error is None:
                    self._flush()
                self._writer.close()
                if error is None:
                    umask = os.umask(0)
                    os.umask(umask)
                    os.chmod(self._draft, 0o666 & ~umask)
                    os.replace(self._draft, self._path)
        finally:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self._draft)


class Spill:
    """What the comparison needs of each request, in an unnamed temporary file: 81 bytes each."""

    def __init__(self) -> None:
        with faults("the temporary directory", "write"):
            self._file = tempfile.TemporaryFile()  # noqa: SIM115  closed by `close`
        self._ids: list[str] = []
        self._rest: list[tuple[Sequence[int], Sequence[float], bytes]] = []
        self.rows = 0

    def add(
        self, ids: list[str], time_ns: Sequence[int], values: Sequence[float], codes: bytes
    ) -> None:
        """Append times, values and codes of these requests, in the order of the replay."""
        self._ids += ids
        self._rest.append((time_ns, values, codes))
        self.rows += len(ids)
        if len(self._ids) >= SPILL_ROWS:
            self._flush()

    def _flush(self) -> None:
        ids, rest = self._ids, self._rest
        self._ids, self._rest = [], []
        block = np.zeros(len(ids), SPILL)
        block["id"] = [id_.encode() for id_ in ids]
        block["time_ns"] = list(chain.from_iterable(times for times, _, _ in rest))
        block["value"] = list(chain.from_iterable(values for _, values, _ in rest))
        block["code"] = np.frombuffer(b"".join(codes for _, _, codes in rest), np.uint8)
        with faults("the temporary directory", "write"):
            block.tofile(self._file)

    def blocks(self) -> Iterator[npt.NDArray[Any]]:
        """Yield everything, in order. Nothing can be added after that."""
        self._flush()
        self._file.seek(0)
        while len(block := np.fromfile(self._file, SPILL, SPILL_ROWS)):
            yield block

    def close(self) -> None:
        self._file.close()
