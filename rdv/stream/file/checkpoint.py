"""The checkpoint in a partition's lock file: which boot wrote last, and what is surely on disk.

While one boot lasts the page cache is coherent and only the very end of a segment can be torn. A
different boot id means that power may have been lost in between: the tail beyond `synced` may have
holes and is examined once (`recovery`). A stale checkpoint is harmless: it names less as synced.
"""

from __future__ import annotations

from struct import Struct
from typing import NamedTuple
from zlib import crc32

_BODY = Struct("<16sQ")
_CHECK = Struct("<I")
CHECKPOINT_BYTES = _BODY.size + _CHECK.size


class Checkpoint(NamedTuple):
    """All offsets below `synced` have been made durable."""

    boot: bytes
    synced: int


def pack_checkpoint(checkpoint: Checkpoint) -> bytes:
    body = _BODY.pack(*checkpoint)
    return body + _CHECK.pack(crc32(body))


def unpack_checkpoint(data: bytes) -> Checkpoint | None:
    """None when there is none, or it was torn: then nothing is known to be synced."""
    if len(data) < CHECKPOINT_BYTES:
        return None
    body, check = data[: _BODY.size], data[_BODY.size : CHECKPOINT_BYTES]
    if _CHECK.unpack(check)[0] != crc32(body):
        return None
    return Checkpoint(*_BODY.unpack(body))
