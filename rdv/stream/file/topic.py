"""The module compares a topic's directories with what it should have, and puts renamed ones back.

`TOPIC/.topic` holds the topic's name and its number of partitions. FORMAT.md.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import msgspec

from rdv.coded import CodedText
from rdv.stream.errors import RecordsDamaged
from rdv.stream.file import layout, lookup
from rdv.stream.file.damage import missing_partition
from rdv.stream.file.entry import ENTRY_BYTES, FLAGS_MASK, codec_of, unpack_entry
from rdv.stream.file.lock import partition_locked
from rdv.stream.file.misplaced import Moved, origin_of
from rdv.stream.file.segment import open_segments
from rdv.stream.record import TopicPartition
from rdv.system.disk import BROKEN_SUFFIX, Disk


class TopicFacts(msgspec.Struct, frozen=True):
    """A `TopicFacts` is the contents of `.topic`."""

    name: str
    partitions: int


_decode = msgspec.json.Decoder(TopicFacts).decode


def read_facts(disk: Disk, directory: str) -> TopicFacts | None:
    """Read `.topic`; None for a topic of an earlier version, and when the file is damaged."""
    try:
        return _decode(disk.read_file(f"{directory}/{layout.TOPIC_FILE}"))
    except (FileNotFoundError, msgspec.MsgspecError):
        return None


def write_facts(disk: Disk, directory: str, facts: TopicFacts) -> None:
    """Write `.topic`. Raises OSError."""
    path = f"{directory}/{layout.TOPIC_FILE}"
    disk.replace_file(path, msgspec.json.encode(facts) + b"\n")


def partitions_of(disk: Disk, directory: str) -> int:
    """Return how many partitions a topic has, even if directories were deleted; 0 for no topic.

    Raises OSError.
    """
    try:
        names = disk.list_directory(directory)
    except FileNotFoundError:
        return 0
    facts = read_facts(disk, directory) if layout.TOPIC_FILE in names else None
    if facts is not None:
        return max(facts.partitions, layout.partition_count(names))
    return layout.partitions_seen(names)


@dataclass(frozen=True)
class TopicDirectories:
    """A `TopicDirectories` compares a topic's directories with what they should be.

    Its methods raise OSError.
    """

    disk: Disk
    directory: str

    @property
    def topic(self) -> str:
        return self.directory.rsplit("/", 1)[-1]

    def damage(self, partition: int) -> RecordsDamaged | None:
        """Return what is wrong with one partition's directory as a whole."""
        place, path = TopicPartition(self.topic, partition), self._path(partition)
        if (missing := missing_partition(self.disk, path, place)) is not None:
            return missing
        origin = self._origin(path, partition)
        if origin is None:
            return None
        reason = f"it holds what was written as partition {origin.partition}: it was renamed"
        if origin.topic != self.topic:
            reason = f"the topic's directory was renamed: it was written as topic {origin.topic!r}"
        return self._all_of(path, place, reason)

    def strays(self) -> Iterator[RecordsDamaged]:
        """Yield the directories with records that are not partitions of the topic."""
        count = partitions_of(self.disk, self.directory)
        for path in self._stray_paths():
            reason = f"the directory is no partition of this topic, which has {count}"
            origin = self._origin(path, -1)
            if origin is not None and origin.topic == self.topic:
                reason += f"; it was written as partition {origin.partition}"
            yield self._all_of(path, TopicPartition(self.topic, 0), reason)

    def put_back(self, lock_timeout_ms: int) -> list[Moved]:
        """Rename partitions to where they belong, and make the missing ones anew.

        A directory without a place is set aside. A renamed topic keeps its new name: its indexes
        are rewritten for it. Called under the stream's lock for making topics.
        """
        done = self._rename_partitions()
        for partition in range(partitions_of(self.disk, self.directory)):
            path = self._path(partition)
            if not self.disk.is_directory(path):
                self.disk.mkdir(path, inside=self.directory)
                done.append(Moved(path, path))
            origin = self._origin(path, partition)
            if origin is not None and origin.topic != self.topic:
                with partition_locked(self.disk, path, lock_timeout_ms):
                    done += self._write_tags(path, partition, origin)
        facts = read_facts(self.disk, self.directory)
        if facts is not None and facts.name != self.topic:
            write_facts(self.disk, self.directory, TopicFacts(self.topic, facts.partitions))
        return done

    def _rename_partitions(self) -> list[Moved]:
        disk, waiting, done = self.disk, list[tuple[str, str, TopicPartition | None]](), []
        for partition in range(partitions_of(disk, self.directory)):
            path = self._path(partition)
            origin = self._origin(path, partition) if disk.is_directory(path) else None
            if origin is not None and origin.partition != partition:
                aside = disk.path_aside(path)
                disk.rename(path, aside)
                waiting.append((path, aside, origin))
        waiting += [(path, path, self._origin(path, -1)) for path in self._stray_paths()]
        for path, now, origin in waiting:
            to = disk.path_aside(path) if now == path else now
            if origin is not None and self._is_free(origin.partition):
                to = self._path(origin.partition)
                if disk.exists(to):
                    disk.rename(to, disk.path_aside(to))
            if to != now:
                disk.rename(now, to)
            done.append(Moved(path, to))
        return done

    def _is_free(self, partition: int) -> bool:
        """Return whether a partition's directory holds no entries, or does not exist."""
        path = self._path(partition)
        return partition < partitions_of(self.disk, self.directory) and not any(
            self.disk.path_size(layout.index_path(path, base))
            for base in open_segments(self.disk, path)
        )

    def _write_tags(self, path: str, partition: int, origin: TopicPartition) -> list[Moved]:
        """Rewrite the indexes in `path` with the tags of this topic; keeps copies."""
        disk, done = self.disk, []
        for base in open_segments(disk, path):
            index_path = layout.index_path(path, base)
            old = codec_of(f"{origin.topic}/{origin.partition}", base)
            new = codec_of(f"{self.topic}/{partition}", base)
            data = bytearray(disk.read_file(index_path))
            for number in range(len(data) // ENTRY_BYTES):
                at = slice(number * ENTRY_BYTES, (number + 1) * ENTRY_BYTES)
                if old.holds(bytes(data[at]), number):
                    end, time_ns, length, crc, flags, _ = unpack_entry(bytes(data[at]))
                    flags &= FLAGS_MASK
                    data[at] = new.pack(number, end, time_ns, length, crc, flags)
            copy = disk.path_aside(index_path)
            disk.copy_file(index_path, copy)
            disk.replace_file(index_path, bytes(data), durable=True)
            done.append(Moved(index_path, copy))
        return done

    def _path(self, partition: int) -> str:
        return f"{self.directory}/{partition}"

    def _origin(self, path: str, partition: int) -> TopicPartition | None:
        facts = read_facts(self.disk, self.directory)
        names = {self.topic, self.topic if facts is None else facts.name}
        return origin_of(self.disk, path, TopicPartition(self.topic, partition), names)

    def _stray_paths(self) -> list[str]:
        count = partitions_of(self.disk, self.directory)
        paths = [
            f"{self.directory}/{name}"
            for name in sorted(self.disk.list_directory(self.directory))
            if not name.startswith(".")
            and BROKEN_SUFFIX not in name
            and not (name.isdigit() and int(name) < count)
        ]
        return [p for p in paths if self.disk.is_directory(p) and open_segments(self.disk, p)]

    def _all_of(self, path: str, place: TopicPartition, reason: str) -> RecordsDamaged:
        begin = lookup.begin_offset(self.disk, path)
        last = max(begin, lookup.end_offset(self.disk, path) - 1)
        found = CodedText("directory_misplaced", reason)
        return RecordsDamaged(path, *place, begin, last, 0, 0, found)
