"""Look up which ids are those of recorded requests."""

from __future__ import annotations

from collections.abc import Callable, Collection

import msgspec

from rdv.analysis.dataset.chunk import decode_chunk
from rdv.analysis.dataset.notes import Notes
from rdv.analysis.dataset.places import Recorded
from rdv.analysis.dataset.source import sources
from rdv.rendezvous.topology import INPUT


class _Line(msgspec.Struct, gc=False):
    """The field of a request that is needed here."""

    id: str = ""


_decoder = msgspec.json.Decoder(_Line)
FEW = 8
"""The maximum number of ids that are searched as text first, which is faster than decoding."""


def unknown_ids(
    recorded: Recorded, ids: Collection[str], progress: Callable[[int], None] = lambda _: None
) -> set[str] | None:
    """Return those ids that no recorded request has; None if no request is recorded at all.

    Reads the whole input; `progress` gets numbers of requests. Raises the log's SystemFaults.
    """
    missing, is_empty = set(ids), True
    for source in sources(recorded.stream(INPUT)):
        for chunk in source.chunks(source.begin, source.end, Notes()):
            is_empty = is_empty and not len(chunk)
            progress(len(chunk))
            if len(missing) <= FEW:
                text = chunk.blob()
                if not any(id_.encode() in text for id_ in missing):
                    continue
            lines = decode_chunk(chunk, _decoder.decode_lines, _decoder.decode)
            missing.difference_update(line.id for line in lines if line is not None)
            if not missing:
                return missing
    return None if is_empty else missing
