"""Compresses and decompresses bodies (RFC 9110, 8.4): gzip and deflate, in bounded memory. Pure."""

from __future__ import annotations

import zlib
from collections.abc import Mapping

from rdv.http import failure as fail
from rdv.http.failure import Failure

_WINDOWS = {b"gzip": 31, b"x-gzip": 31, b"deflate": 15}
"""The `wbits` of each coding that is understood; deflate is the zlib format (RFC 1950)."""

COMPRESSED_BYTES_MIN = 1_024
"""Smaller answers are sent as they are: compressing saves no packet."""

_LEVEL = 1


def coding_of(headers: Mapping[bytes, bytes]) -> bytes | Failure:
    """Return the content coding of a body, empty when it has none; a Failure for an unknown one."""
    given = headers.get(b"content-encoding", b"")
    codings = [name.strip(b" \t").lower() for name in given.split(b",")]
    codings = [name for name in codings if name not in (b"", b"identity")]
    if not codings:
        return b""
    if len(codings) > 1 or codings[0] not in _WINDOWS:
        return fail.content_coding_unknown(given)
    return codings[0]


def decompressed(body: bytes, coding: bytes, bytes_max: int) -> bytes | Failure:
    """Return the decompressed body, or why it is refused; never more than `bytes_max` are made."""
    name = coding.decode()
    inflate = zlib.decompressobj(_WINDOWS[coding])
    try:
        found = inflate.decompress(body, bytes_max + 1)
    except zlib.error as error:
        return fail.malformed_coding(name, str(error))
    if len(found) > bytes_max:
        return fail.body_too_large(bytes_max)
    if not inflate.eof:
        return fail.malformed_coding(name, "it ends too early")
    if inflate.unused_data:
        return fail.malformed_coding(name, f"{len(inflate.unused_data)} bytes follow its end")
    return found


def wanted_coding(accept: bytes) -> bytes:
    """Return the coding for an answer by its request's Accept-Encoding; empty for none."""
    weights: dict[bytes, float] = {}
    for part in accept.lower().split(b","):
        name, _, parameter = part.partition(b";")
        weights[name.strip()] = _weight(parameter)
    others = weights.get(b"*", 0.0)
    gzip, deflate = weights.get(b"gzip", others), weights.get(b"deflate", others)
    if max(gzip, deflate, 0.0) < weights.get(b"identity", 0.0):
        return b""
    if gzip > 0 and gzip >= deflate:
        return b"gzip"
    return b"deflate" if deflate > 0 else b""


def _weight(parameter: bytes) -> float:
    """Return the weight of `q=0.5`; 1 when there is none, 0 for one that cannot be read."""
    name, _, value = parameter.partition(b"=")
    if name.strip() != b"q":
        return 1.0
    try:
        weight = float(value)
    except ValueError:
        return 0.0
    return weight if 0 <= weight <= 1 else 0.0


def compressed(body: bytes, coding: bytes) -> bytes:
    """Return the body in a coding."""
    deflate = zlib.compressobj(_LEVEL, zlib.DEFLATED, _WINDOWS[coding])
    return deflate.compress(body) + deflate.flush()
