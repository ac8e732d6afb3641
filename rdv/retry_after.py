"""Read the header Retry-After (RFC 9110, 10.2.3)."""

from __future__ import annotations

import email.utils

RETRY_AFTER_S_MAX = 3_600
"""Longer pauses count as this."""


def retry_after_ms(text: str) -> int | None:
    """Return the pause that a server asks for: seconds, or a date; None for none. Pure.

    A date is not compared with this machine's clock, which may differ: it counts as one second.
    """
    text = text.strip()
    if text.isdecimal() and text.isascii():
        return min(int(text.lstrip("0")[:9] or "0"), RETRY_AFTER_S_MAX) * 1000
    return 1000 if text and email.utils.parsedate_tz(text) else None
