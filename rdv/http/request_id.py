"""`X-Request-Id` is the client's own id of a request, which is returned with the answer. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable

HEADER = b"x-request-id"
CHARACTERS_MAX = 128

_ID = re.compile(rb"[!-~]{1,%d}" % CHARACTERS_MAX)


def is_request_id(raw: bytes) -> bool:
    """Return whether a value is valid: 1 to CHARACTERS_MAX visible ASCII characters."""
    return _ID.fullmatch(raw) is not None


def request_id_lines(headers: Iterable[tuple[bytes, bytes]]) -> tuple[tuple[bytes, bytes], ...]:
    """Return the header line of a refusal; none when the request has no valid id, or two.

    `headers` has names in lower case.
    """
    found = [value for name, value in headers if name == HEADER]
    if len(found) != 1 or not is_request_id(found[0]):
        return ()
    return ((b"X-Request-Id", found[0]),)
