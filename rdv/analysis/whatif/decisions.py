"""Write the decisions of a what-if as a Parquet file, one row for each request."""

from __future__ import annotations

from typing import Self

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from rdv.analysis.dataset.joined import KINDS, NO_RESULT
from rdv.analysis.export.arrow import make_batch
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
        columns = {
            "id": [joined.id(n) for n in range(len(joined))],
            "time": joined.time_ns,
            "recorded_kind": [KINDS[code] for code in joined.kind.tolist()],
            "recorded_model": [joined.model.at(n) for n in range(len(joined))],
            "recorded_ms": pa.array(joined.waited_ms, mask=joined.kind == NO_RESULT),
            "kind": [KINDS[code] for code in decided.kind.tolist()],
            "model": row.models,
            "step": decided.step.astype(np.int32),
            "waited_ms": decided.at_us / 1000,
        }
        with faults(self._path, "write"):
            self._writer.write_batch(make_batch(SCHEMA, columns))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with faults(self._path, "write"):
            self._writer.close()
