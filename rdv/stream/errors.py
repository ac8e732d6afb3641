"""These are the errors of the log. Each has fields, from which its text is made in one place."""

from __future__ import annotations

from typing import Literal

from rdv.errors import ConflictFault, DataFault, InputFault, SystemFault, UsageFault
from rdv.system.faults import DiskFault, DiskFull, LockTimeout, NotPermitted, TooManyOpenFiles

__all__ = [
    "Closed",
    "DiskFault",
    "DiskFull",
    "Fenced",
    "InvalidAddress",
    "InvalidArgument",
    "InvalidConfig",
    "InvalidName",
    "LockTimeout",
    "NoGroup",
    "NotInFiles",
    "NotPermitted",
    "OffsetOutOfRange",
    "PartitionNotFound",
    "PartitionsShrink",
    "RecordTooLarge",
    "RecordsDamaged",
    "RecordsLost",
    "StreamExists",
    "StreamNotFound",
    "SyncFailed",
    "TooManyOpenFiles",
    "TooManyReaders",
    "TopicNotFound",
    "UnsupportedPlatform",
    "WouldWait",
]


class InvalidAddress(InputFault):
    """The address of a stream or topic cannot be parsed."""

    address: str
    reason: str

    _text = "{address!r} is not a stream address: {reason}"
    _hint = "An address is PATH or PATH:TOPIC, for example fraud/input or fraud/input:requests."


class InvalidName(InputFault):
    """A topic or group name is not allowed."""

    kind: Literal["topic", "group"]
    name: str
    reason: str

    _text = "{name!r} is not a {kind} name: {reason}"
    _hint = "Use letters, digits, '.', '_' and '-'; start with a letter, a digit or '_'."


class InvalidConfig(InputFault):
    """A setting of a stream cannot be used."""

    where: str
    key: str
    reason: str

    _text = "{where}: {key}: {reason}"


class InvalidArgument(InputFault):
    """An argument has a value that makes no sense."""

    name: str
    value: object
    reason: str

    _text = "{name} = {value!r}: {reason}"


class StreamNotFound(InputFault):
    """There is no stream at this path."""

    path: str
    reason: str = "no such directory"

    _text = "no stream at {path} ({reason})"
    _hint = "Make one: rdv stream create {path}"


class NotInFiles(InputFault):
    """The call needs a stream in files; another backend has no files to show or to repair."""

    address: str

    _text = "{address} is not a stream in files"
    _hint = "Give the path of a stream's directory."


class StreamExists(InputFault):
    """A stream exists already."""

    path: str

    _text = "there is a stream at {path} already"
    _hint = "Look at it: rdv stream info {path}"


class TopicNotFound(InputFault):
    """The stream has no such topic."""

    path: str
    topic: str

    _text = "no topic {topic!r} in {path}"
    _hint = "See what there is: rdv stream topics {path}"


class PartitionNotFound(InputFault):
    """The topic has no such partition."""

    topic: str
    partition: int
    partitions: int

    _text = "topic {topic!r} has no partition {partition}: it has {partitions}, numbered from 0"


class PartitionsShrink(InputFault):
    """Partitions can be added, never removed."""

    topic: str
    partitions: int
    wanted: int

    _text = "topic {topic!r} has {partitions} partitions and cannot shrink to {wanted}"
    _hint = "Make a new topic and copy the records that you want to keep."


class RecordTooLarge(InputFault):
    """A value, or a batch of values, is above the stream's limit."""

    size_bytes: int
    limit_bytes: int
    what: Literal["record", "batch"] = "record"

    _text = "a {what} of {size_bytes} bytes is above the limit of {limit_bytes}"

    def hint(self) -> str:
        if self.what == "batch":
            return "Send it in smaller batches."
        return "Raise record_bytes_max in the stream's stream.toml, or send less."


class UnsupportedPlatform(SystemFault):
    """File streams need flock, FIFOs and pwrite, which this platform lacks."""

    platform: str

    _text = "file streams need Linux or macOS; this is {platform}"
    _hint = "Use a memory: stream here, or run rdv in WSL or a container."


class RecordsDamaged(DataFault):
    """Records are not on disk as they were written.

    The offsets `first_offset` to `last_offset` cannot be read; `path`, `position_bytes` and
    `size_bytes` name the damaged bytes. A consumer stays before them until a caller seeks past them
    or the log is repaired.
    """

    path: str
    topic: str
    partition: int
    first_offset: int
    last_offset: int
    position_bytes: int
    size_bytes: int
    reason: str

    def kind(self) -> str:
        """Return the code of `reason`: one of `rdv.codes.DAMAGE_CODES`."""
        return str(getattr(self.reason, "code", ""))

    @property
    def records(self) -> int:
        """Return the number of records that cannot be read; 0 if only a seal is damaged."""
        if self.kind() in ("seal_damaged", "entries_behind_seal"):
            return 0
        return self.last_offset - self.first_offset + 1

    def text(self) -> str:
        offsets = (
            f"offset {self.first_offset}"
            if self.first_offset == self.last_offset
            else f"offsets {self.first_offset} to {self.last_offset}"
        )
        return (
            f"damage in {self.path}: {offsets} of {self.topic}/{self.partition} "
            f"({self.size_bytes} bytes from byte {self.position_bytes}): {self.reason}"
        )

    _hint = (
        "See all of it with `rdv stream verify`, then `rdv stream repair` (keeps a .broken "
        "copy), or seek past it."
    )


class RecordsLost(DataFault):
    """Retention has deleted records before this reader came to them.

    Raised once; the next poll continues at `last_offset + 1`.
    """

    topic: str
    partition: int
    first_offset: int
    last_offset: int

    _text = (
        "offsets {first_offset} to {last_offset} of {topic}/{partition} are gone: retention "
        "deleted them before they were read"
    )

    def hint(self) -> str:
        return f"Reading goes on at {self.last_offset + 1}. Raise the retention or read faster."


class OffsetOutOfRange(InputFault):
    """The partition does not have this position (yet)."""

    topic: str
    partition: int
    offset: int
    begin: int
    end: int

    _text = (
        "{topic}/{partition} has no offset {offset}: it holds {begin} to {end} (the end is the "
        "next to be written)"
    )


class SyncFailed(SystemFault):
    """An fsync failed: the records are written, but may not survive a power loss.

    The segment has been sealed and is never synced again (after a failed fsync the kernel may have
    dropped the pages); the next send goes to a new segment.
    """

    path: str
    reason: str

    _text = "fsync of {path} failed: {reason}"
    _hint = "Check the disk. What was sent since the last sync may not survive a power loss."


class TooManyReaders(SystemFault):
    """All places on the stream's wake-up board are taken."""

    path: str
    limit: int

    _text = "{path}: {limit} readers wait already, which is the limit"


class WouldWait(ConflictFault):
    """The call cannot be done without waiting, which the caller excluded (`wait_ms=0`).

    Nothing has been written.
    """

    path: str
    reason: str

    _text = "cannot write to {path} at once: {reason}"
    _hint = "Send it again from a thread that may wait."


class Fenced(ConflictFault):
    """The member does not own the partition any more; its commit has changed nothing."""

    group: str
    member: str
    topic: str
    partition: int
    generation: int

    _text = (
        "member {member} of group {group!r} does not own {topic}/{partition} any more "
        "(generation {generation})"
    )
    _hint = "Poll again: the member rejoins. The new owner repeats what was not committed."


class Closed(UsageFault):
    """The object has been closed, or belongs to another process (it was inherited by a fork)."""

    what: str
    reason: str = "it was closed"

    _text = "this {what} cannot be used: {reason}"


class NoGroup(UsageFault):
    """The call needs a consumer group."""

    call: str

    _text = "{call} needs a consumer group"
    _hint = "Open the consumer with group='NAME'."
