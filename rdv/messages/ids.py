"""Request ids: 128 bits, as 32 hex digits. Pure: the randomness is given.

An id is the proxy's random prefix and the number of the request in that proxy, so that making
one costs a format and no system call, two proxies never give the same, and the requests of one
proxy sort by age. Hex rather than base64: it can be double-clicked, grepped, and never begins
with a dash on a command line.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count

PREFIX_BYTES = 10
"""Random bytes that one start of a proxy needs. With 80 bits, a million starts collide with a
probability of about 4e-13."""

_NUMBER_MAX = 2**48 - 1


def make_request_id(prefix: bytes, number: int) -> str:
    """The id of request `number` of the proxy whose start drew `prefix`.

    Raises ValueError when the prefix has not PREFIX_BYTES bytes or the number not 48 bits.
    """
    if len(prefix) != PREFIX_BYTES:
        raise ValueError(f"a prefix has {PREFIX_BYTES} bytes, not {len(prefix)}")
    if not 0 <= number <= _NUMBER_MAX:
        raise ValueError(f"{number} is not between 0 and {_NUMBER_MAX}")
    return f"{prefix.hex()}{number:012x}"


def request_ids(prefix: bytes, start: int = 0) -> Iterator[str]:
    """All ids of one start of a proxy, in order. For one thread; ask it with `next`."""
    make_request_id(prefix, start)
    text = prefix.hex()
    return (f"{text}{number:012x}" for number in count(start))
