"""Find since when a model has answered in one version only: what was before says nothing of it."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec
import numpy as np
import numpy.typing as npt
from msgspec import UNSET, Raw, UnsetType

from rdv.analysis.dataset.chunk import decode_chunk
from rdv.analysis.dataset.notes import Notes
from rdv.analysis.dataset.places import Recorded
from rdv.analysis.dataset.source import sources
from rdv.rendezvous.topology import SCORES


class _Line(msgspec.Struct, gc=False):
    """The fields of a score that are needed here."""

    version: str = ""
    result: Raw | UnsetType = UNSET


_decoder = msgspec.json.Decoder(_Line)


@dataclass(frozen=True)
class Newest:
    """The version of a model's last result."""

    model: str
    version: str | None
    """None if the model has given no result."""
    since_ns: int | None
    """From when on there are only results of this version; None if there never was another one."""
    earlier: int
    """The number of results before that."""


def newest_version(
    recorded: Recorded, model: str, since_ns: int | None = None, until_ns: int | None = None
) -> Newest:
    """Read the versions of a model's results in [since_ns, until_ns). Raises SystemFaults."""
    last_of: dict[str, int] = {}
    times: list[npt.NDArray[np.int64]] = []
    for source in sources(recorded.stream(SCORES), [model]):
        start = source.begin if since_ns is None else source.offset_at(since_ns)
        for chunk in source.chunks(start, source.offset_at(until_ns), Notes()):
            versions = [
                None if line is None or line.result is UNSET else line.version
                for line in decode_chunk(chunk, _decoder.decode_lines, _decoder.decode)
            ]
            times.append(chunk.times_ns[[version is not None for version in versions]])
            for version, time_ns in zip(versions, chunk.times_ns.tolist(), strict=True):
                if version is not None:
                    last_of[version] = max(time_ns, last_of.get(version, 0))
    if not last_of:
        return Newest(model, None, None, 0)
    newest = max(last_of, key=lambda version: last_of[version])
    others = [time_ns for version, time_ns in last_of.items() if version != newest]
    if not others:
        return Newest(model, newest, None, 0)
    last_ns = max(others)
    return Newest(model, newest, last_ns + 1, sum(int((part <= last_ns).sum()) for part in times))
