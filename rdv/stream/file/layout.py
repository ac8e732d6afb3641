"""These functions name the files in a stream's directory: no I/O. See FORMAT.md."""

from __future__ import annotations

from collections.abc import Iterable

CONFIG_FILE = "stream.toml"
DOORBELLS = ".doorbells"
GROUPS = ".groups"
IDENTITY_FILE = ".id"
TOPIC_FILE = ".topic"
UNFINISHED = ".making"
"""The name of a topic that is being made; the lock for making topics admits one at a time."""
LOCK_FILE = "lock"
RECOVERED_FILE = "recovered"
"""In a partition: the boot in which it was last recovered. The lock says so as well; this is for
a lock file that was deleted."""
INDEX_SUFFIX = ".index"
VALUES_SUFFIX = ".jsonl"


def partition_directory(stream: str, topic: str, partition: int) -> str:
    return f"{stream}/{topic}/{partition}"


def identity(directory: str) -> str:
    """Return TOPIC/PARTITION of a partition's directory, against which the index is checked."""
    return "/".join(directory.rsplit("/", 2)[-2:])


def index_path(directory: str, base: int) -> str:
    """Return the path of the index of the segment whose first record has the offset `base`."""
    return f"{directory}/{base:020d}{INDEX_SUFFIX}"


def values_path(directory: str, base: int) -> str:
    return f"{directory}/{base:020d}{VALUES_SUFFIX}"


def segment_bases(names: Iterable[str]) -> list[int]:
    """Return the segments' base offsets among file names, ascending. The index file decides."""
    return sorted(
        int(stem)
        for name in names
        if name.endswith(INDEX_SUFFIX) and (stem := name.removesuffix(INDEX_SUFFIX)).isdigit()
    )


def partitions_seen(names: Iterable[str]) -> int:
    """Return how many partitions a topic has had, by its directories: some may have been deleted.

    At least one, if the names are those of a topic.
    """
    there = set(names)
    least = int(IDENTITY_FILE in there)
    return max((int(name) + 1 for name in there if name.isdigit()), default=least)


def partition_count(names: Iterable[str]) -> int:
    """Return how many partitions a topic has: its directories 0, 1, 2 … without a gap."""
    numbers = {int(name) for name in names if name.isdigit()}
    count = 0
    while count in numbers:
        count += 1
    return count
