"""Opens the streams of a stage: in memory, bounded, gone with the process."""

from __future__ import annotations

import itertools
import logging

from rdv.coded import coded
from rdv.decision.streams import MEMORY, Streams, open_streams
from rdv.errors import RdvError
from rdv.stream import StreamConfig

log = logging.getLogger("rdv.stages")

_numbers = itertools.count()


def memory_streams(name: str) -> Streams:
    """Make new streams with one partition each; 64 MB of each topic's records are kept."""
    return open_streams(f"{MEMORY}{name}-{next(_numbers)}", StreamConfig(partitions=1))


def show_not_loaded(error: RdvError) -> None:
    """Log why a model is missing, with its own traceback."""
    text = "\n".join(filter(None, (error.text(), error.hint())))
    log.error("%s", text, extra=coded(error))
