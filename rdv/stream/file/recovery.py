"""Recovery makes a partition's tail sound again after the machine, not just a process, went down.

Within one boot nothing has to be recovered: the writer cuts off a torn entry by itself. After a
power loss any page that was not synced may be missing, in any combination. So the last segment is
walked once per boot from the checkpoint on, and cut at the first record that is not complete: what
lies beyond was never promised. Everything before the checkpoint was promised; damage there is left
for the reader to meet and for `repair` to settle.
"""

from __future__ import annotations

import logging
from typing import NamedTuple

from rdv.coded import coded
from rdv.stream.file import layout
from rdv.stream.file.chain import BEGIN, after, walk
from rdv.stream.file.checkpoint import (
    Checkpoint,
    is_recovered,
    note_recovered,
    pack_checkpoint,
    read_checkpoint,
)
from rdv.stream.file.entry import ENTRY_BYTES
from rdv.stream.file.lookup import end_offset
from rdv.stream.file.segment import Segment, open_segments, values_without_index
from rdv.system.disk import Disk

log = logging.getLogger("rdv.stream")

_WALK_ENTRIES = 4096


class Outcome(NamedTuple):
    """An `Outcome` holds the id of this boot, and the end when the partition had to be examined.

    The end may be lower than it was, even when nothing had to be cut: a file may have come back
    shorter. No group may then keep a committed offset beyond it.
    """

    boot: bytes
    end: int | None


def recover(disk: Disk, directory: str, lock_fd: int) -> Outcome:
    """Recover a partition when this is the first writer since the machine started.

    The caller holds the partition's lock. Idempotent: a crash in here is recovered like the first.
    Raises OSError.
    """
    boot = disk.boot_id()
    known = read_checkpoint(disk, lock_fd)
    if known is not None and known.boot == boot:
        return Outcome(boot, None)
    synced = known.synced if known is not None else 0
    if is_recovered(disk, directory):
        # Only the lock file is another: processes may have the segment open, and nothing may be
        # cut. It may be the same one after a kill between the last two steps below.
        disk.write_all(lock_fd, pack_checkpoint(Checkpoint(boot, synced)), 0)
        return Outcome(boot, None if known is None else end_offset(disk, directory))
    # Below `synced` nothing may be missing: if it is, that is damage, and the writer goes on after
    # it (`tail`). No offset that was promised is used again.
    end = max(synced, _cut_tail(disk, directory, synced))
    note_recovered(disk, directory, lock_fd)
    disk.write_all(lock_fd, pack_checkpoint(Checkpoint(boot, synced)), 0)
    return Outcome(boot, end)


def needs_recovery(disk: Disk, directory: str) -> bool:
    """Return whether no process has opened the partition for writing since the machine started."""
    try:
        fd = disk.open(f"{directory}/{layout.LOCK_FILE}")
    except FileNotFoundError:
        # Readers and writers must agree about what a power loss has left.
        return not is_recovered(disk, directory) and bool(
            open_segments(disk, directory) or values_without_index(disk, directory)
        )
    try:
        known = read_checkpoint(disk, fd)
    finally:
        disk.close(fd)
    if known is None:
        return not is_recovered(disk, directory)
    return known.boot != disk.boot_id()


def _cut_tail(disk: Disk, directory: str, synced: int) -> int:
    """Cut the last segment where it is not sound; returns the partition's end."""
    bases = open_segments(disk, directory)
    _set_aside_values(disk, directory, max([synced, *bases]))
    if not bases:
        return 0
    try:
        segment = Segment(disk, directory, bases[-1])
    except FileNotFoundError:
        # The names of a segment's two files were not both durable yet; or, if the segment had been
        # synced, a file has been lost: that is damage, and stays for `repair`.
        if bases[-1] < synced:
            return synced
        disk.unlink(layout.index_path(directory, bases[-1]))
        return _cut_tail(disk, directory, synced)
    with segment:
        count = segment.entry_count()
        sound, end, reason = _sound_prefix(segment, max(0, synced - segment.base), count)
        if sound == count:
            return segment.next_base()
        cut_to = segment.base + sound
        if cut_to < synced:
            log.warning(
                "%s: damage at offset %d, below %d, which had been synced: nothing is cut off (%s)",
                directory,
                cut_to,
                synced,
                reason,
                extra=coded("damage_kept"),
            )
            return segment.next_base()
        log.warning(
            "%s: after an unclean shutdown of the machine, %d records from offset %d on were cut "
            "off (%s); the fsync policy had not promised them; a .broken copy is kept",
            directory,
            count - sound,
            cut_to,
            reason,
            extra=coded("records_cut_off"),
        )
        _keep_broken_copy(disk, segment)
    for path, size in ((segment.index_path, sound * ENTRY_BYTES), (segment.values_path, end)):
        fd = disk.open(path, write=True)
        try:
            if disk.size(fd) > size:
                disk.ftruncate(fd, size)
        finally:
            disk.close(fd)
    return cut_to


def _set_aside_values(disk: Disk, directory: str, first: int) -> None:
    """Rename values from the offset `first` on whose index has not become durable.

    They were never promised, and the next segment must begin there.
    """
    for base in values_without_index(disk, directory):
        path = layout.values_path(directory, base)
        if base >= first and disk.path_size(path):
            text = "%s has no index after an unclean shutdown: it is set aside"
            log.warning(text, path, extra=coded("values_set_aside"))
            disk.rename(path, disk.path_aside(path))


def _sound_prefix(segment: Segment, number: int, count: int) -> tuple[int, int, str]:
    """Return how many entries are sound, their values' end, and the fault of the next."""
    at = segment.position(min(number, count)) or BEGIN
    while at.number < count:
        raw = segment.entries(at.number, min(_WALK_ENTRIES, count - at.number))
        if not raw:
            break
        for verdict in walk(segment.codec, raw, segment.values, at):
            if verdict.status == "damaged":
                return at.number, at.end, verdict.reason
            if verdict.status == "sealed":
                return at.number + 1, at.end, "there is more behind the seal"
            at = after(at, verdict.entry)
    return count, at.end, ""


def _keep_broken_copy(disk: Disk, segment: Segment) -> None:
    for path in (segment.index_path, segment.values_path):
        disk.copy_file(path, disk.path_aside(path))
