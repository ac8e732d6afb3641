"""Make Arrow arrays without `pyarrow.array`.

That function imports pandas where it is installed, to recognise its types: half of the time that
a command takes for a small log.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from numpy import typing as npt


def strings(values: Sequence[str | None]) -> pa.Array[Any]:
    """Return a large_string array of the same values."""
    return _texts([None if value is None else value.encode() for value in values], utf8=True)


def binaries(values: Sequence[bytes | None]) -> pa.Array[Any]:
    """Return a large_binary array of the same values."""
    return _texts(values, utf8=False)


def integers(values: npt.NDArray[np.int64]) -> pa.Array[Any]:
    """Return an int64 array of the same values."""
    data = pa.py_buffer(np.ascontiguousarray(values, np.int64))
    return pa.Array.from_buffers(pa.int64(), len(values), [None, data])


def _texts(values: Sequence[bytes | None], *, utf8: bool) -> pa.Array[Any]:
    ends = np.zeros(len(values) + 1, np.int64)
    np.cumsum([len(value or b"") for value in values], out=ends[1:])
    present = np.array([value is not None for value in values], bool)
    bitmap = None
    if not present.all():
        bitmap = pa.py_buffer(np.packbits(present, bitorder="little"))
    data = pa.py_buffer(b"".join(value or b"" for value in values))
    kind = pa.large_string() if utf8 else pa.large_binary()
    return pa.Array.from_buffers(kind, len(values), [bitmap, pa.py_buffer(ends), data])
