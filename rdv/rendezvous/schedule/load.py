"""Turns TOML text or an inline object into a checked `Schedule`; errors name file, key and reason.

An inline schedule is in a request; proxy, server and evaluation use the same rule.
"""

from __future__ import annotations

import difflib
import json
import re
from typing import Any, Final, get_args

import msgspec
import orjson

from rdv import toml_text
from rdv.payload import UnusableJson, check_numbers_and_depth
from rdv.rendezvous.schedule.model import (
    ACCEPT_MAX,
    NAME_PATTERN,
    OTHERS,
    SLA_MS_MAX,
    STEPS_MAX,
    Combine,
    InvalidSchedule,
    Schedule,
    Step,
    hash_content,
)

INLINE_NAME = "inline"

_KEYS = {"sla_ms", "default", "input_judges", "step"}
_STEP_KEYS = {field.encode_name for field in msgspec.structs.fields(Step)}
_UNKNOWN = re.compile(r"^Object contains unknown field `(?P<key>.*)`$", re.DOTALL)
_MISSING = re.compile(r"^Object missing required field `(?P<key>.*)`$")
_CHOICES = {
    "need": 'Give a count (2), a fraction (0.8, or 1.0 for all) or "all".',
    "combine": f"There are {', '.join(get_args(Combine))}.",
}
_NAME = re.compile(NAME_PATTERN)
_SLA_HINT = "An answer that takes longer is not for a client that waits: use a queue."
_SHOWN_MAX = 100
_LISTS = ("topk", "topscore")
"""The ways to combine answers that are lists."""


INLINE_BYTES_MAX: Final = 65_536
"""The maximum size of an inline schedule in bytes, without its spaces; all components refuse a
longer one. A proxy may allow less."""

_WHERE = f"schedule {INLINE_NAME!r}"


def schedule_from_toml(text: str, name: str, where: str = "") -> Schedule:
    """Read the text of a schedule file; `where` is its path, for errors. Raises InvalidSchedule."""
    where = where or name
    try:
        table = toml_text.parse(text)
    except toml_text.NotToml as error:
        raise InvalidSchedule(where, "", f"not TOML: {error}") from error
    return schedule_from_object(table, name, where)


def schedule_from_object(
    plain: object, name: str = INLINE_NAME, where: str = "", *, sla_ms_max: int = SLA_MS_MAX
) -> Schedule:
    """Check a plain object, such as a request's inline schedule. Raises InvalidSchedule.

    Only readers of old logs pass another `sla_ms_max`. This checks whether the schedule can be run;
    `lint_schedule` checks whether it is wise.
    """
    where = where or f"schedule {name!r}"
    if not _NAME.match(name):
        raise InvalidSchedule(where, "", f"{name!r} is not a name: letters, digits, '.', '_', '-'")
    if not isinstance(plain, dict):
        raise InvalidSchedule(where, "", f"a table is needed, not {type(plain).__name__}")
    if unknown := sorted(str(key) for key in plain if key not in _KEYS):
        raise _unknown_key(where, unknown[0], _KEYS)
    _check_counts(where, plain.get("step"))
    try:
        schedule = msgspec.convert(plain, Schedule)
    except (msgspec.ValidationError, RecursionError) as error:
        raise _translated(where, str(error)) from error
    if schedule.sla_ms > sla_ms_max:
        reason = f"{schedule.sla_ms:,.10g} ms is more than {sla_ms_max:,} ms, the longest SLA"
        raise InvalidSchedule(where, "sla_ms", reason, _SLA_HINT)
    _check_default(where, schedule.default)
    _check_judges(where, schedule.input_judges)
    for number, step in enumerate(schedule.steps, start=1):
        _check_step(where, number, step, is_last=number == len(schedule.steps))
    named = msgspec.structs.replace(schedule, name=name)
    return msgspec.structs.replace(named, content_hash=hash_content(named))


def _check_counts(where: str, steps: object) -> None:
    """Check the lengths before anything is converted, so that a long list costs nothing."""
    if not isinstance(steps, list):
        return
    if len(steps) > STEPS_MAX:
        raise InvalidSchedule(where, "step", f"{len(steps):,} steps are more than {STEPS_MAX}")
    for number, step in enumerate(steps, start=1):
        accept = step.get("accept") if isinstance(step, dict) else None
        if isinstance(accept, list) and len(accept) > ACCEPT_MAX:
            reason = f"{len(accept):,} names are more than {ACCEPT_MAX}"
            raise InvalidSchedule(where, f"step[{number}].accept", reason)


def _translated(where: str, message: str) -> InvalidSchedule:
    """Translate "Expected `float`, got `str` - at `$.step[0].until_ms`" to ours, counted from 1."""
    # The last one counts: a value that the message repeats may look like a place, too.
    reason, found, path = message.rpartition(" - at `$")
    reason, path = (reason, path.removeprefix(".").rstrip("`")) if found else (message, "")
    key = re.sub(r"\[(\d+)\]", lambda number: f"[{int(number[1]) + 1}]", path)
    if unknown := _UNKNOWN.match(reason):
        return _unknown_key(where, unknown["key"], _STEP_KEYS, below=key)
    if missing := _MISSING.match(reason):
        return InvalidSchedule(where, _joined(key, missing["key"]), "is missing")
    reason = reason[:1].lower() + reason[1 : 2 * _SHOWN_MAX]
    if reason.startswith("invalid enum value"):
        value = reason.removeprefix("invalid enum value ")
        return InvalidSchedule(
            where, key, f"there is no {value}", _CHOICES.get(key.rpartition(".")[2], "")
        )
    return InvalidSchedule(where, key, reason)


def _unknown_key(where: str, key: str, known: set[str], below: str = "") -> InvalidSchedule:
    key = key[:_SHOWN_MAX]
    close = difflib.get_close_matches(key, known, n=1)
    hint = f"Did you mean {close[0]}?" if close else f"There are {', '.join(sorted(known))}."
    return InvalidSchedule(where, _joined(below, key), "there is no such key", hint)


def _joined(path: str, key: str) -> str:
    return f"{path}.{key}" if path else key


def _check_default(where: str, default: Any) -> None:
    """Check that the default is JSON: TOML allows more, such as dates, NaN, infinity."""
    try:
        text = json.dumps(default, allow_nan=False)  # strict about NaN and dates
        check_numbers_and_depth(text.encode())
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidSchedule(where, "default", f"is not JSON: {error}") from error
    except UnusableJson as error:
        raise InvalidSchedule(where, "default", error.verdict()) from error


def _check_judges(where: str, judges: list[str]) -> None:
    for model in judges:
        if not _NAME.match(model):
            raise InvalidSchedule(where, "input_judges", f"{model!r} is not a model's name")
        if judges.count(model) > 1:
            raise InvalidSchedule(where, "input_judges", f"names {model!r} twice")


def _check_step(where: str, number: int, step: Step, *, is_last: bool) -> None:
    at = f"step[{number}]"
    if step.until_ms is None and not is_last:
        raise InvalidSchedule(where, f"{at}.until_ms", "only the last step may leave it out")
    for model in step.accept:
        if model != OTHERS and not _NAME.match(model):
            raise InvalidSchedule(where, f"{at}.accept", f"{model!r} is not a model's name")
    if len(set(step.accept)) < len(step.accept):
        repeated = next(model for model in step.accept if step.accept.count(model) > 1)
        raise InvalidSchedule(where, f"{at}.accept", f"names {repeated!r} twice")
    if step.combine != "best" and step.need == 1 and not isinstance(step.need, float):
        reason = f"is 1, and combine = {step.combine!r} is for several answers"
        raise InvalidSchedule(where, f"{at}.need", reason, _CHOICES["need"])
    if step.on is not None and step.combine not in ("vote", *_LISTS):
        reason = 'is for combine = "vote", "topk" or "topscore" only'
        raise InvalidSchedule(where, f"{at}.on", reason)
    if step.top is not None and step.combine not in _LISTS:
        reason = 'is for combine = "topk" or "topscore" only'
        raise InvalidSchedule(where, f"{at}.top", reason)


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
