"""Trusted time is the time to delete by: no step of a clock may delete a record early.

A wall clock can be wrong by years, for a moment or for good, and the clock of the deleting process
may be the wrong one. The monotonic clock of a boot cannot jump, so each partition keeps a note
(`clock`) that ties the two: wall time is believed as far as monotonic time has passed since. A
clock that goes ahead of that is believed after it has done so for a day, or for half the retention
time if that is shorter; one that goes back is believed at once, as that deletes nothing.
"""

from __future__ import annotations

import contextlib
import struct
from typing import NamedTuple

from rdv.clock import Clock
from rdv.stream.file.disk import Disk

NOTE_FILE = "clock"
TOLERANCE_NS = 60 * 10**9
"""The largest correction that does not count as a step of a clock, in nanoseconds."""
CONFIRM_NS = 24 * 3600 * 10**9

_NOTE = struct.Struct("<4s16sqqqq")
_MAGIC = b"rdc1"


class Note(NamedTuple):
    """A `Note` holds the wall and monotonic time of one moment, and how far the clock is ahead.

    `since_ns` is the monotonic time since when the wall clock has been `ahead_ns` further than the
    monotonic clock allows; both are 0 when it is not.
    """

    boot: bytes
    wall_ns: int
    monotonic_ns: int
    ahead_ns: int
    since_ns: int


def judge(note: Note, now: Note, confirm_ns: int) -> tuple[int, Note]:
    """Return the time to delete by, and the next note. Pure; `now` is what the clocks say."""
    passed_ns = now.monotonic_ns - note.monotonic_ns if note.boot == now.boot else 0
    believed_ns = note.wall_ns + max(0, passed_ns)
    ahead_ns = now.wall_ns - believed_ns
    # After another boot an unknown time has passed: a machine may have been off for a night.
    tolerance_ns = min(TOLERANCE_NS, confirm_ns // 10)
    slack_ns = tolerance_ns if note.boot == now.boot else confirm_ns
    if ahead_ns <= slack_ns:
        return now.wall_ns, now
    is_known = note.ahead_ns and note.boot == now.boot
    if is_known and abs(ahead_ns - note.ahead_ns) <= tolerance_ns:
        if now.monotonic_ns - note.since_ns >= confirm_ns:
            return now.wall_ns, now
        return believed_ns, note
    began = Note(now.boot, believed_ns, now.monotonic_ns, ahead_ns, now.monotonic_ns)
    return believed_ns, began


def time_to_delete_by(
    disk: Disk, directory: str, clock: Clock, retention_ms: int, newest_ns: int
) -> int:
    """Return the wall time as far as it can be believed; keeps the note. Raises OSError.

    Without a note the newest record says what time it was last.

    It works with or without the partition's lock: of two concurrent notes, either is right.
    """
    path = f"{directory}/{NOTE_FILE}"
    now = Note(disk.boot_id(), clock.wall_ns(), clock.monotonic_ns(), 0, 0)
    confirm_ns = min(CONFIRM_NS, retention_ms * 500_000)
    note = _read(disk, path) or Note(b"", min(newest_ns, now.wall_ns), 0, 0, 0)
    found_ns, after = judge(note, now, confirm_ns)
    if after != note:
        with contextlib.suppress(OSError):  # a full disk must not prevent a deletion
            disk.replace_file(path, _NOTE.pack(_MAGIC, *after))
    return found_ns


def keep_note(disk: Disk, directory: str, clock: Clock) -> None:
    """Write the first writer's note, so that the first deletion knows what time it was.

    Raises nothing: without a note, the newest record gives the time.
    """
    path = f"{directory}/{NOTE_FILE}"
    with contextlib.suppress(OSError):
        if not disk.exists(path):
            now = Note(disk.boot_id(), clock.wall_ns(), clock.monotonic_ns(), 0, 0)
            disk.replace_file(path, _NOTE.pack(_MAGIC, *now))


def _read(disk: Disk, path: str) -> Note | None:
    try:
        data = disk.read_file(path)
    except FileNotFoundError:
        return None
    if len(data) != _NOTE.size or data[:4] != _MAGIC:
        return None
    return Note(*_NOTE.unpack(data)[1:])
