"""From the body of `POST /v1/decide` to a request, or to a refusal that says why. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import msgspec
import orjson

from rdv.errors import http_status
from rdv.http import Failure
from rdv.schedule import InvalidSchedule, Schedule, schedule_from_object, windows_ms


class Body(msgspec.Struct, frozen=True, forbid_unknown_fields=True, gc=False):
    """The body of `POST /v1/decide`; only `data` is required."""

    data: msgspec.Raw
    key: str | None = None
    schedule: str | dict[str, Any] | None = None
    deadline_ms: float | None = None
    trace: bool = False
    models: list[str] | None = None


_decode = msgspec.json.Decoder(Body).decode
KEY_CHARACTERS_MAX = 1_024
DEADLINE_MS_MAX = 3_600_000
MODELS_MAX = 256
INLINE_MAX = 256
"""Inline schedules that are kept compiled."""


def read_body(raw: bytes) -> Body | Failure:
    """The body, checked as far as it can be without knowing the schedules."""
    try:
        if not raw.isascii():
            raw.decode()
        body = _decode(raw)
        data = bytes(body.data)
        if b"e" in data or b"E" in data or b"\\u" in data:
            # msgspec passes over what is inside of `data`: lone surrogates, 1e999.
            orjson.loads(data)
    except msgspec.ValidationError as error:
        return Failure(400, "invalid_request", f"the body does not fit: {error}")
    except (msgspec.DecodeError, UnicodeDecodeError, orjson.JSONDecodeError) as error:
        return Failure(400, "malformed_json", f"the body is not JSON: {error}")
    except RecursionError:
        return Failure(400, "malformed_json", "the body is nested too deeply")
    fault = _fault(body)
    return Failure(400, "invalid_request", fault) if fault else body


def _fault(body: Body) -> str:
    """What no schedule could make right, or an empty string."""
    if body.deadline_ms is not None and not 0 < body.deadline_ms <= DEADLINE_MS_MAX:
        return f"deadline_ms is not between 0 and {DEADLINE_MS_MAX}"
    if body.models is not None and len(body.models) > MODELS_MAX:
        return f"models names more than {MODELS_MAX}"
    if body.key is not None and len(body.key) > KEY_CHARACTERS_MAX:
        return f"key is longer than {KEY_CHARACTERS_MAX}"
    return ""


class Chosen(NamedTuple):
    """A schedule, and what its requests carry of it."""

    schedule: Schedule
    windows_ms: dict[str, float]


def _chosen(schedule: Schedule) -> Chosen:
    return Chosen(schedule, windows_ms(schedule))


class ScheduleChoice:
    """Which schedule a request gets at this proxy: the live one, a named, or an inline one."""

    def __init__(self, by_name: Mapping[str, Schedule], live: str) -> None:
        self._by_name = {name: _chosen(schedule) for name, schedule in by_name.items()}
        self._live = self._by_name[live]
        self._inline: dict[bytes, Chosen] = {}

    def choose(self, wanted: str | dict[str, Any] | None) -> Chosen | Failure:
        if wanted is None:
            return self._live
        if isinstance(wanted, str):
            found = self._by_name.get(wanted)
            if found is None:
                names = ", ".join(sorted(self._by_name))
                message = f"there is no schedule {wanted[:100]!r}; there are {names}"
                return Failure(422, "unknown_schedule", message, {"schedule": wanted[:100]})
            return found
        text = orjson.dumps(wanted, option=orjson.OPT_SORT_KEYS)
        known = self._inline.get(text)
        if known is None:
            try:
                known = _chosen(schedule_from_object(wanted))
            except InvalidSchedule as error:
                return Failure(http_status(error), "invalid_schedule", error.text())
            if len(self._inline) >= INLINE_MAX:
                self._inline.clear()
            self._inline[text] = known
        return known
