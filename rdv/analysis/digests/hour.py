"""One hour of requests as a value of bounded size, and as a file."""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from rdv.analysis.dataset.reading import is_json_number
from rdv.system.faults import faults

FOLDER = "digests"
SUFFIX = ".digest"
HOUR_NS = 3600 * 10**9
KEYS_MAX = 256
"""The maximum number of keys whose values are kept of an hour."""
FIELDS_MAX = 20
"""The maximum number of fields of the input, and of each model's answers: those seen first."""
MODELS_MAX = 50
BYTES_MAX = 4 * 1024 * 1024
"""The maximum size of a digest, as a file and unpacked: what is larger is not read."""
_PACKED_MAX = BYTES_MAX - 64 * 1024
"""What is written, unpacked: it may grow a little when it is compressed."""
_CLASSES_MIN = 3
_TEXT_MAX = 100
_DEPTH_MAX = 3
_VERSION = 1
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

_pack = msgspec.msgpack.Encoder().encode
Flat = dict[str, Any]
Floats = npt.NDArray[np.float64]


class Column(msgspec.Struct, frozen=True, array_like=True):
    """The values of one field: rising numbers (float64, little-endian), and counts of classes."""

    numbers: bytes = b""
    classes: dict[str, int] = {}

    @classmethod
    def of(cls, values: Iterable[Any]) -> Column:
        """Return the column of JSON scalars. Texts that hardly ever repeat are not kept."""
        numbers, classes = [], dict[str, int]()
        for value in values:
            if is_json_number(value):
                numbers.append(float(value))
            else:
                text = str(value)[:_TEXT_MAX]
                classes[text] = classes.get(text, 0) + 1
        if len(classes) > max(_CLASSES_MIN, sum(classes.values()) // 2):
            classes = {}
        return cls(np.sort(np.array(numbers, "<f8")).tobytes(), classes)

    def numeric(self) -> Floats:
        """Return the numbers."""
        return np.frombuffer(self.numbers, "<f8").astype(np.float64)

    def __len__(self) -> int:
        return len(self.numbers) // 8 + sum(self.classes.values())


class Hour(msgspec.Struct, frozen=True, kw_only=True):
    """What is kept of the requests of one hour; `hour` counts from 1970."""

    version: int = _VERSION
    hour: int
    requests: int = 0
    keys: float = 0.0
    """How many different keys there were: exact up to KEYS_MAX, else estimated (to some 6 %)."""
    sample: bytes = b""
    """Hashes of the keys that were drawn; of each, one request is kept."""
    fields: dict[str, Column] = {}
    """The fields of the input."""
    models: dict[str, dict[str, Column]] = {}
    """By model, the fields of its answers; "" is an answer that is not an object."""

    @property
    def drawn(self) -> npt.NDArray[np.uint64]:
        """The hashes of the keys that were drawn."""
        return np.frombuffer(self.sample, "<u8").astype(np.uint64)


class BadDigest(Exception):
    """A file is no digest of its hour; the text says why."""


def path_of(directory: str, hour: int) -> str:
    """Return the file of an hour of a decision."""
    return os.path.join(directory, FOLDER, hour_name(hour) + SUFFIX)


def hour_name(hour: int) -> str:
    """Return an hour as 2026-05-01T13."""
    return (_EPOCH + timedelta(hours=hour)).strftime("%Y-%m-%dT%H")


def hours_there(directory: str) -> list[int]:
    """Return the hours that have a file, in order. Raises SystemFaults, if not for no folder."""
    folder = os.path.join(directory, FOLDER)
    with faults(folder, "read"):
        try:
            names = os.listdir(folder)
        except FileNotFoundError:
            return []
    return sorted(hour for name in names if (hour := _hour_of(name)) is not None)


def _hour_of(name: str) -> int | None:
    if not name.endswith(SUFFIX):
        return None
    try:
        at = datetime.strptime(name.removesuffix(SUFFIX), "%Y-%m-%dT%H").replace(tzinfo=UTC)
    except ValueError:
        return None
    hour = int((at - _EPOCH).total_seconds()) // 3600
    return hour if hour_name(hour) + SUFFIX == name else None


def read_hour(directory: str, hour: int) -> Hour:
    """Return the digest of an hour. Raises BadDigest."""
    try:
        with open(path_of(directory, hour), "rb") as file:
            data = file.read(BYTES_MAX + 1)
    except OSError as error:
        raise BadDigest(error.strerror or str(error)) from None
    if len(data) > BYTES_MAX:
        raise BadDigest(f"it has more than {BYTES_MAX:,} bytes")
    return decoded(data, hour)


def encoded(hour: Hour) -> bytes:
    """Return the bytes of a digest's file, which can always be read.

    Columns for which there is no room are left out, the largest first: texts, as a rule.
    """
    packed = _pack(hour)
    if len(packed) > _PACKED_MAX:
        packed = _pack(_with_room(hour, len(packed) - _PACKED_MAX))
    return zlib.compress(packed)


def _with_room(hour: Hour, too_much: int) -> Hour:
    """Return the digest without its largest columns, which have at least `too_much` bytes."""
    sizes = [
        (len(_pack({name: column})) - 1, model, name)
        for model, columns in ((None, hour.fields), *hour.models.items())
        for name, column in columns.items()
    ]
    gone: set[tuple[str | None, str]] = set()
    for size, model, name in sorted(sizes, key=lambda one: (-one[0], one[1] or "", one[2])):
        if too_much <= 0:
            break
        gone.add((model, name))
        too_much -= size
    fields = {name: one for name, one in hour.fields.items() if (None, name) not in gone}
    models = {
        model: {name: one for name, one in columns.items() if (model, name) not in gone}
        for model, columns in hour.models.items()
    }
    return msgspec.structs.replace(hour, fields=fields, models=models)


def decoded(data: bytes, hour: int) -> Hour:
    """Return the digest of this hour. Raises BadDigest."""
    try:
        unzip = zlib.decompressobj()
        unpacked = unzip.decompress(data, BYTES_MAX)
        if not unzip.eof:
            raise BadDigest("it is not whole")
        found = msgspec.msgpack.decode(unpacked, type=Hour)
    except (zlib.error, msgspec.MsgspecError) as error:
        raise BadDigest(f"it is damaged ({error})") from None
    if found.version != _VERSION:
        raise BadDigest(f"it has version {found.version}, and this rdv reads {_VERSION}")
    if found.hour != hour:
        raise BadDigest(f"it is of {hour_name(found.hour)}")
    columns = [*found.fields.values(), *(one for m in found.models.values() for one in m.values())]
    if problem := _problem(found, columns):
        raise BadDigest(f"it is damaged ({problem})")
    return found


def _problem(hour: Hour, columns: Sequence[Column]) -> str:
    if len(hour.sample) % 8 or any(len(one.numbers) % 8 for one in columns):
        return "a column ends in the middle of a number"
    if any(count <= 0 for one in columns for count in one.classes.values()):
        return "a count is not positive"
    if any(not np.isfinite(one.numeric()).all() for one in columns):
        return "a number is not finite"
    if any(len(one) > len(hour.sample) // 8 for one in columns):
        return "a column has more values than keys"
    return "" if np.isfinite(hour.keys) and hour.keys >= 0 else "the number of keys is wrong"


def flat(value: Any) -> Flat:
    """Return the scalars of an object by name, `a.b` for those of objects in it; "" for itself."""
    return dict(_flat(value, "", _DEPTH_MAX))


def _flat(value: Any, name: str, depth: int) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict) and depth:
        for key, one in value.items():
            yield from _flat(one, f"{name}.{key}" if name else str(key), depth - 1)
    elif isinstance(value, str | int | float):
        yield name, value
