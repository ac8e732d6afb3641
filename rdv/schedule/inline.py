"""An inline schedule is in a request; proxy, server and evaluation use the same rule."""

from __future__ import annotations

from typing import Any, Final

import orjson

from rdv.schedule.errors import InvalidSchedule
from rdv.schedule.load import INLINE_NAME, schedule_from_object
from rdv.schedule.model import Schedule

INLINE_BYTES_MAX: Final = 65_536
"""The maximum size of an inline schedule in bytes, without its spaces; all components refuse a
longer one. A proxy may allow less."""

_WHERE = f"schedule {INLINE_NAME!r}"


def trimmed(text: bytes) -> bytes:
    """Copy bytes to memory of their own size: orjson's result may occupy a megabyte."""
    return bytes(memoryview(text))


def inline_text(plain: dict[str, Any]) -> bytes:
    """Return the JSON of an inline schedule, its keys in their order, as its default is answered.

    Raises InvalidSchedule for values that are no JSON, such as integers of more than 64 bits.
    """
    try:
        return trimmed(orjson.dumps(plain))
    except (TypeError, RecursionError) as error:
        raise InvalidSchedule(_WHERE, "", f"is not JSON: {error}") from error


def read_inline(
    plain: dict[str, Any], text: bytes, *, bytes_max: int = INLINE_BYTES_MAX
) -> Schedule:
    """Check an inline schedule; `text` is its `inline_text`. Raises InvalidSchedule.

    A proxy allows at most what a server does, so that a server refuses no schedule that a proxy has
    accepted.
    """
    if len(text) > bytes_max:
        raise InvalidSchedule(_WHERE, "", f"{len(text):,} bytes are more than {bytes_max:,}")
    return schedule_from_object(plain)
