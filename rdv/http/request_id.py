"""`X-Request-Id`: the client's own name for a request, which comes back with the answer. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable

HEADER = b"x-request-id"
CHARACTERS_MAX = 128

_ID = re.compile(rb"[!-~]{1,%d}" % CHARACTERS_MAX)


def is_request_id(raw: bytes) -> bool:
    """Whether a value is recorded and sent back: visible ASCII characters, not too many."""
    return _ID.fullmatch(raw) is not None


def request_id_lines(headers: Iterable[tuple[bytes, bytes]]) -> tuple[tuple[bytes, bytes], ...]:
    """The header line that a refusal gets: none when the request has no usable id, or two.

    `headers`: names in lower case.
    """
    found = [value for name, value in headers if name == HEADER]
    if len(found) != 1 or not is_request_id(found[0]):
        return ()
    return ((b"X-Request-Id", found[0]),)
