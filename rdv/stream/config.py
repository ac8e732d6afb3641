"""A `StreamConfig` holds a stream's settings: types, comments and defaults in one place."""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Literal

from rdv import toml_text
from rdv.stream.errors import InvalidConfig

Fsync = Literal["none", "interval", "always"]

DAY_MS = 24 * 60 * 60 * 1000
PARTITIONS_MAX = 4096

FORMAT = 2
"""The format of the files that are written (FORMAT.md); those of lower formats can be read."""
FORMAT_LINES = f"""
# The format of the files. Do not change it: it keeps older versions of rdv away from this stream.
format = {FORMAT}
"""


@dataclass(frozen=True)
class StreamConfig:
    """A `StreamConfig` holds the settings of one stream. A file stream keeps them in `stream.toml`.

    Raises InvalidConfig when a value is out of its range.
    """

    partitions: int = 1
    """The number of partitions of a new topic. More of them let more readers share the work; the
    order of records is kept within a partition only."""

    segment_bytes: int = 64 * 1024 * 1024
    """The size in bytes at which a segment is sealed and a new one begun. Retention deletes whole
    segments: smaller ones make it more precise, larger ones mean fewer files."""

    retention_ms: int | None = 7 * DAY_MS
    """The age in milliseconds of its newest record at which a sealed segment is deleted; None keeps
    all."""

    retention_bytes: int | None = None
    """The size in bytes beyond which a partition's oldest sealed segments are deleted; None keeps
    all."""

    fsync: Fsync = "none"
    """What a power loss may lose. "none": what the kernel had not written out yet (any process may
    still be killed at any instant without loss). "interval": at most the last `fsync_interval_ms`.
    "always": nothing that was acknowledged; a send then takes as long as two syncs of the disk."""

    fsync_interval_ms: int = 100
    """How often fsync = "interval" syncs written records, in milliseconds."""

    record_bytes_max: int = 16 * 1024 * 1024
    """The maximum size of a value in bytes; a larger one is refused."""

    lock_timeout_ms: int = 10_000
    """The maximum time that a writer waits for a partition that another living process holds, in
    milliseconds."""

    open_partitions_max: int = 128
    """How many partitions a producer or a consumer keeps open at once (3 files each)."""

    mode: str = "0600"
    """The permissions of the stream's files, in octal. Users who may read the files may also enter
    the directories, and wait for new records: the files for waiting are writable for them."""

    def __post_init__(self) -> None:
        for key, low, high in _RANGES:
            value = getattr(self, key)
            if value is None and key in _NONE_WORDS:
                continue
            if not (
                isinstance(value, int) and not isinstance(value, bool) and low <= value <= high
            ):
                raise InvalidConfig("stream", key, f"{value!r} is not between {low} and {high}")
        if self.fsync not in ("none", "interval", "always"):
            reason = f"{self.fsync!r} is not one of none, interval, always"
            raise InvalidConfig("stream", "fsync", reason)
        check_mode(self.mode, "stream")

    @property
    def file_mode(self) -> int:
        """Return `mode` as a number."""
        return int(self.mode, 8)

    @property
    def segment_ms(self) -> int | None:
        """Return the age in milliseconds at which a segment is sealed, to be deleted later."""
        return None if self.retention_ms is None else max(1, self.retention_ms // 8)

    @property
    def batch_bytes_max(self) -> int:
        """Return the maximum total size in bytes of the values of one `send_many`."""
        return max(self.record_bytes_max, 64 * 1024 * 1024)


def check_mode(mode: object, where: str) -> None:
    """Raise InvalidConfig unless `mode` is octal, `rw` for the owner and executable for no user."""
    if not isinstance(mode, str) or not re.fullmatch("0?6[046][046]", mode):
        reason = f'{mode!r} is not a mode such as "0600", "0640" or "0660"'
        raise InvalidConfig(where, "mode", reason)


_GIB = 1024**3
_RANGES: tuple[tuple[str, int, int], ...] = (
    ("partitions", 1, PARTITIONS_MAX),
    ("segment_bytes", 1, 1024 * _GIB),
    ("retention_ms", 1, 10**15),
    ("retention_bytes", 1, 2**60),
    ("fsync_interval_ms", 1, 3_600_000),
    ("record_bytes_max", 1, _GIB),
    ("lock_timeout_ms", 1, 3_600_000),
    ("open_partitions_max", 1, 100_000),
)

_COMMENTS = {
    "partitions": "partitions of a new topic; existing topics: rdv stream topics PATH --partitions",
    "segment_bytes": "a segment of this size is sealed and a new one begun",
    "retention_ms": 'older sealed segments are deleted; "forever" keeps them',
    "retention_bytes": 'per partition: the oldest sealed segments beyond it go; "unlimited"',
    "fsync": "none: survives any kill; interval: loses at most the last ms below; always: nothing",
    "fsync_interval_ms": 'how often fsync = "interval" syncs',
    "record_bytes_max": "a larger value is refused",
    "lock_timeout_ms": "how long a writer waits for a partition that a living process holds",
    "open_partitions_max": "partitions that a producer or consumer keeps open at once",
    "mode": "permissions of the files; 0640 lets the group read, and wait for new records",
}
_NONE_WORDS = {"retention_ms": "forever", "retention_bytes": "unlimited"}


def dump_config(config: StreamConfig, note: str = "") -> str:
    """Return the text of a `stream.toml`, with a comment on every key, and `note` above them."""
    lines = ["# Settings of this stream. Writers and readers read them when they open it."]
    lines += [note, ""] if note else [""]
    for key, value in asdict(config).items():
        shown = _NONE_WORDS[key] if value is None else value
        text = f'"{shown}"' if isinstance(shown, str) else str(shown)
        lines += [f"# {_COMMENTS[key]}", f"{key} = {text}"]
    return "\n".join(lines) + "\n" + FORMAT_LINES


def load_config(data: bytes, where: str) -> StreamConfig:
    """Read the bytes of a `stream.toml`; `where` is its path, for errors. Raises InvalidConfig."""
    _, table = _load_table(data, where)
    number = _format_of(table)
    if number not in (1, FORMAT):
        reason = f"{number!r} is not known: this version of rdv reads formats up to {FORMAT}"
        raise InvalidConfig(where, "format", reason)
    return make_config({key: table[key] for key in table if key != "format"}, where)


def with_format(data: bytes, where: str) -> str:
    """Return the text of a `stream.toml` that names the current format. Raises InvalidConfig.

    rdv 0.1 refuses a stream whose settings have a key that it does not know, and so leaves files of
    this format alone.
    """
    text, table = _load_table(data, where)
    if _format_of(table) == FORMAT:
        return text
    lines = [line for line in text.splitlines() if line.split("=")[0].strip() != "format"]
    return "\n".join(lines).rstrip("\n") + "\n" + FORMAT_LINES


def _format_of(table: dict[str, Any]) -> object:
    return table.get("format", 1)


def _load_table(data: bytes, where: str) -> tuple[str, dict[str, Any]]:
    try:
        text = toml_text.decode(data)
        return text, toml_text.parse(text)
    except toml_text.NotToml as error:
        raise InvalidConfig(where, "TOML", str(error)) from None


def make_config(table: dict[str, Any], where: str) -> StreamConfig:
    """Make a StreamConfig from plain values; unknown keys are refused by name."""
    known = {field.name for field in fields(StreamConfig)}
    for key in table:
        if key not in known:
            raise InvalidConfig(
                where, key, f"no such setting; there are {', '.join(sorted(known))}"
            )
    values: dict[str, Any] = {
        key: None if value == _NONE_WORDS.get(key, object()) else value
        for key, value in table.items()
    }
    try:
        return replace(StreamConfig(), **values)
    except InvalidConfig as error:
        raise InvalidConfig(where, error.key, error.reason) from None
