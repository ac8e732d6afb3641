"""Write the decisions of a what-if as a Parquet file, one row for each request."""

from __future__ import annotations

from types import TracebackType
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from rdv.analysis.dataset.joined import KINDS, NO_RESULT
from rdv.analysis.whatif.study import Row
from rdv.system.faults import faults

SCHEMA = pa.schema(
    [
        ("id", pa.string()),
        ("time", pa.timestamp("us", "UTC")),
        ("recorded_kind", pa.string()),
        ("recorded_model", pa.string()),
        ("recorded_ms", pa.float64()),
        ("kind", pa.string()),
        ("model", pa.string()),
        ("step", pa.int32()),
        ("waited_ms", pa.float64()),
    ]
)


class DecisionFile:
    """Writes batches to `path`. Raises the log's SystemFaults."""

    def __init__(self, path: str) -> None:
        self._path = path
        with faults(path, "write"):
            self._writer = pq.ParquetWriter(path, SCHEMA)

    def add(self, row: Row) -> None:
        joined, decided = row.joined, row.decided
        kinds = [str(kind) if kind else None for kind in KINDS]
        columns: list[Any] = [
            [id_.decode() for id_ in joined.ids.tolist()],
            joined.time_ns // 1000,
            [kinds[code] for code in joined.kind.tolist()],
            [joined.model.at(n) for n in range(len(joined))],
            pa.array(joined.waited_ms, mask=joined.kind == NO_RESULT),
            [kinds[code] for code in decided.kind.tolist()],
            row.models,
            decided.step.astype(np.int32),
            decided.at_us / 1000,
        ]
        arrays = [
            column if isinstance(column, pa.Array) else pa.array(column, field.type)
            for column, field in zip(columns, SCHEMA, strict=True)
        ]
        with faults(self._path, "write"):
            self._writer.write_batch(pa.record_batch(arrays, schema=SCHEMA))

    def __enter__(self) -> DecisionFile:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with faults(self._path, "write"):
            self._writer.close()
