"""The types of a schedule, its errors, and the windows of its models. Pure.

The file's keys are the fields; `step` is the table of steps. A model's window is the time until
which its answer is the wanted one.
"""

from __future__ import annotations

import hashlib
import json
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta

from rdv.errors import InputFault

OTHERS: Final = "*"
"""The entry of `accept` that stands for any model that the list does not name."""

Combine = Literal["best", "mean", "median", "vote", "topk", "topscore"]

NAME_PATTERN: Final = r"^[A-Za-z0-9_][A-Za-z0-9_.-]*$"
"""The pattern of model and schedule names; "+" is reserved for "gbm+logit", a combined answer."""

SLA_MS_MAX: Final = 60_000
"""The maximum SLA of a schedule in milliseconds. It also bounds how long an engine waits, how far
back a restarted process looks, and the timeouts of clients, proxies and the supervisor."""

RECORDED_SLA_MS_MAX: Final = 3_600_000
"""The maximum SLA in milliseconds of schedules in old logs: until 0.1.0 it could be longer than
SLA_MS_MAX (which still capped the wait)."""

STEPS_MAX: Final = 64
ACCEPT_MAX: Final = 256
_HASH_DIGITS: Final = 12

_ModelName = Annotated[str, Meta(min_length=1, max_length=128)]
_Ms = Annotated[float, Meta(gt=0, le=RECORDED_SLA_MS_MAX)]
_Count = Annotated[int, Meta(ge=1, le=ACCEPT_MAX)]
_Fraction = Annotated[float, Meta(gt=0, le=1)]


class Step(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A `Step` is a part of the wait, with the models that are accepted in it."""

    accept: Annotated[list[_ModelName], Meta(min_length=1, max_length=ACCEPT_MAX)]
    """Models by rank, the preferred first; "*" stands for all that are not named."""

    until_ms: _Ms | None = None
    """The step's end in ms from the request's start; only the last step may omit it (the SLA)."""

    need: _Count | _Fraction | Literal["all"] = 1
    """How many of them must have answered: a count (2), a fraction (0.8) or "all". Fractions are
    rounded up, of the names in `accept`; with "*", of the live models that it stands for."""

    combine: Combine = "best"
    """How several answers are combined. best: the best-ranked one. mean, median: of every number in
    them. vote: the most frequent one. topk: their lists merged by reciprocal rank. topscore: their
    lists merged by the items' scores, which must be comparable: those of shards of one model."""

    on: str | None = None
    """vote, topk, topscore: the field of the answers that counts; without it, the whole answer."""

    top: Annotated[int, Meta(ge=1, le=100_000)] | None = None
    """topk, topscore: the length of the merged list; without it, that of the longest."""


class Schedule(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A `Schedule` says when to prefer which models.

    `schedule_from_toml` and `schedule_from_object` make and check it. `name` is not part of the
    content: a renamed file is the same schedule, and has the same hash.
    """

    sla_ms: _Ms
    """The time in milliseconds from the start of the request by which the answer is given."""

    steps: Annotated[list[Step], Meta(min_length=1, max_length=STEPS_MAX)] = msgspec.field(
        name="step"
    )
    input_judges: Annotated[list[_ModelName], Meta(max_length=ACCEPT_MAX)] = []
    """Models that may say that the data is invalid: that ends the decision with the default, and
    the code `bad_input`. Other models only refuse such a request for themselves."""

    default: Any = None
    """The answer when no model has given one: any JSON. None: forgotten; the client gets null."""

    name: str = ""
    content_hash: str = ""
    """12 hex digits of SHA-256 over the canonical JSON of the content."""

    @property
    def label(self) -> str:
        """Return `production@1f2e3d4c5b6a`, by which results name their schedule."""
        return f"{self.name}@{self.content_hash}"

    def ends_ms(self) -> list[float]:
        """Return when each step ends: `until_ms`, or the SLA if that is left out or less."""
        return [min(step.until_ms or self.sla_ms, self.sla_ms) for step in self.steps]


def content(schedule: Schedule) -> dict[str, Any]:
    """Return the schedule as the object that an override may carry: without name and hash."""
    plain: dict[str, Any] = msgspec.to_builtins(schedule)
    return {key: value for key, value in plain.items() if key not in ("name", "content_hash")}


def hash_content(schedule: Schedule) -> str:
    """Hash the content, equal for equal content: comments, key order, 50 or 50.0 do not matter."""
    text = json.dumps(content(schedule), sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:_HASH_DIGITS]


class InvalidSchedule(InputFault):
    """A schedule cannot be used. `where` is its file or origin, `key` the place in it."""

    where: str
    key: str
    reason: str
    suggestion: str = ""

    def text(self) -> str:
        place = f"{self.where}: {self.key}" if self.key else self.where
        return f"{place}: {self.reason}"

    def hint(self) -> str:
        return self.suggestion


class InvalidShares(InputFault):
    """The shares of cohorts are not valid shares."""

    cohort: str
    reason: str

    def text(self) -> str:
        return f"share of cohort {self.cohort!r}: {self.reason}" if self.cohort else self.reason

    _hint = "Shares are between 0 and 1 and together at most 1; the rest gets the live schedule."


def windows_ms(schedule: Schedule) -> dict[str, float]:
    """Return the ends of windows that end before the schedule, in ms from the request's start.

    A model's window is the first step that accepts it by name. It ends with that step if a later
    step accepts other models, which have normally answered by then. An answer after that is better
    than none, but one in time is worth more: a worker that is behind must know.
    """
    ends = schedule.ends_ms()
    last_ms = max(ends)
    found: dict[str, float] = {}
    later: set[str] = set()
    for step, end_ms in zip(reversed(schedule.steps), reversed(ends), strict=True):
        accepted = set(step.accept)
        ends_turn = OTHERS not in accepted and not later <= accepted
        found.update(dict.fromkeys(step.accept, end_ms if ends_turn else last_ms))
        later |= accepted
    in_order = (name for step in schedule.steps for name in step.accept)
    return {name: found[name] for name in in_order if name != OTHERS and found[name] < last_ms}
