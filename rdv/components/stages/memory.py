"""The streams of a stage: in memory, bounded, gone with the process."""

from __future__ import annotations

import itertools

from rdv.components.places import MEMORY, Streams, open_streams
from rdv.stream import StreamConfig

_numbers = itertools.count()


def memory_streams(name: str) -> Streams:
    """Streams of their own with one partition each; 64 MB of each topic's records are kept."""
    return open_streams(f"{MEMORY}{name}-{next(_numbers)}", StreamConfig(partitions=1))
