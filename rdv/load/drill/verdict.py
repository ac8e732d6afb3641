"""Judge whether the promises were kept, from what clients saw and what is recorded. Pure.

A request belongs to the exercise during which it was due. Requests that a faulty proxy held, or
that were sent to it before it had recovered, are counted apart: they suffer its death or stop,
which rdv cannot repair (a balancer would try the other proxy). They need not be answered or be in
time, but everything else is checked.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from rdv.coded import CodedText
from rdv.load.drill.mix import Asked, Mix, mix_of
from rdv.load.drill.plan import Exercise

ANSWERED = CodedText("not_answered_in_time", "every accepted request is answered by its SLA")
MARKED = CodedText("not_marked", "a default or fallback is always marked as such")
ONCE = CodedText("answered_twice", "every request has exactly one answer")
RECORDED = CodedText("recorded_differently", "the log agrees with what clients saw")
KEPT = CodedText("records_lost", "no acknowledged record is lost, and damage is named")
RECOVERED = CodedText("not_recovered", "every part recovers by itself")
FAIR = CodedText("client_starved", "one client cannot starve the others")
LIVE = CodedText("edit_not_live", "an edit of the live schedule takes effect")
"""The promises, with the codes of `rdv.codes.DRILL_CODES` for when they are broken."""
_SHOWN = 3


class Span(NamedTuple):
    """The times of an exercise, by the client's clock."""

    exercise: Exercise
    begin_ns: int
    fault_ns: int
    fault_end_ns: int
    """When the fault was undone; for momentary faults, when it happened."""
    recovered_ns: int | None
    """Since when the mix has been what it was; None if it never was."""
    end_ns: int
    proxy_port: int = 0
    """The port of the proxy that was hit; 0 if none was."""
    note: str = ""
    skipped: bool = False
    ready_ns: int | None = None
    """When a killed part was ready again in a new process."""

    def is_apart(self, asked: Asked) -> bool:
        """Return whether the request was in flight at, or sent to, the faulty proxy."""
        well_ns = self.end_ns if self.recovered_ns is None else self.recovered_ns
        return (
            asked.port == self.proxy_port
            and asked.due_ns < well_ns
            and asked.done_ns >= self.fault_ns
        )


class RecordedAnswer(NamedTuple):
    """The answer of a request as the log has recorded it."""

    kind: str
    model: str | None
    schedule: str
    answered_by: str


@dataclass(frozen=True)
class Record:
    """What the streams have recorded of the drill."""

    answers: Mapping[str, RecordedAnswer] = field(default_factory=dict)
    twice: Sequence[str] = ()
    """Ids of requests that the servers, or a proxy, have answered twice."""
    logged: frozenset[str] = frozenset()
    """The ids of the requests in the input stream."""
    damaged: int = 0
    """How many records of `input` the drill itself has damaged; their requests cannot be read."""
    unnamed: Sequence[str] = ()
    """Files that the drill has damaged and that verify reports as sound."""


class Known(NamedTuple):
    """What the verdict needs to know of a schedule."""

    sla_ms: float
    default: object
    """The default as parsed JSON."""
    first: frozenset[str] | None
    """Models of the first step; None if it accepts any ("*")."""


@dataclass(frozen=True)
class Row:
    """The figures of one exercise."""

    fault: str
    part: str
    requests: int
    answered: int
    in_time: int
    refused: int
    apart: int
    before: Mix
    during: Mix
    after: Mix
    recovery_ms: float | None
    """How many ms until the mix was back, from the kill or from when the fault was undone."""
    restart_ms: float | None = None
    """How many ms until a killed part was ready again."""
    note: str = ""
    skipped: bool = False


@dataclass(frozen=True)
class Verdict:
    """`broken` has a sentence for each promise that was not kept: where, and by how much."""

    rows: list[Row]
    broken: list[str]
    broken_codes: list[str]
    """The codes of the same promises."""
    late_in_calm: int
    """How many answers were late while there was no fault: the effect of the machine alone."""


def judge(
    asked: Sequence[Asked],
    spans: Sequence[Span],
    record: Record,
    schedules: Mapping[str, Known],
    read: Mapping[bytes, object],
    grace_ms: float,
    edits: Sequence[str] = (),
) -> Verdict:
    """Return rows in the order of the exercises, and the broken promises.

    `schedules` are by label; `read` has the parsed results of defaults; `edits` are labels that the
    live schedule got by edits.
    """
    groups = _by_span(asked, spans)
    late = _Late(schedules, grace_ms)
    rows = [_row(span, group, late) for span, group in zip(spans, groups, strict=True)]
    answered = [one for one in asked if one.is_answered]
    found = {
        ANSWERED: _unanswered(asked, spans, groups, late, grace_ms),
        MARKED: _unmarked(answered, schedules, read),
        ONCE: _not_once(answered, record),
        RECORDED: _recorded_differently(answered, record),
        KEPT: _lost(answered, record),
        RECOVERED: _not_recovered(spans),
        FAIR: _starved(spans, groups),
        LIVE: _not_live(answered, edits),
    }
    broken = [(promise.code, text) for promise, texts in found.items() for text in texts]
    calm = sum(
        late(one) > 0
        for span, group in zip(spans, groups, strict=True)
        for one in group
        if one.due_ns < span.fault_ns and one.done_ns < span.fault_ns
    )
    return Verdict(rows, [text for _, text in broken], [code for code, _ in broken], calm)


class _Late:
    """Returns how many ms later than allowed an answer was; 0 or less if it was in time."""

    def __init__(self, schedules: Mapping[str, Known], grace_ms: float) -> None:
        self._schedules = schedules
        self._grace_ms = grace_ms

    def __call__(self, asked: Asked) -> float:
        known = self._schedules.get(asked.schedule)
        if not asked.is_answered or known is None:
            return 0.0
        return asked.waited_ms - known.sla_ms - self._grace_ms


def _by_span(asked: Sequence[Asked], spans: Sequence[Span]) -> list[list[Asked]]:
    """Return the requests of each exercise, by when they were due."""
    groups: list[list[Asked]] = [[] for _ in spans]
    ordered = sorted(asked, key=lambda one: one.due_ns)
    at = 0
    for one in ordered:
        while at < len(spans) and one.due_ns >= spans[at].end_ns:
            at += 1
        if at < len(spans) and one.due_ns >= spans[at].begin_ns:
            groups[at].append(one)
    return groups


def _row(span: Span, group: Sequence[Asked], late: _Late) -> Row:
    own = [one for one in group if not span.is_apart(one)]
    recovered_ns = span.end_ns if span.recovered_ns is None else span.recovered_ns
    return Row(
        fault=span.exercise.fault,
        part=span.exercise.target.name,
        requests=len(group),
        answered=sum(one.is_answered for one in own),
        in_time=sum(one.is_answered and late(one) <= 0 for one in own),
        refused=sum(one.is_refused for one in own),
        apart=len(group) - len(own),
        before=mix_of(one for one in group if one.due_ns < span.fault_ns),
        during=mix_of(one for one in group if span.fault_ns <= one.due_ns < recovered_ns),
        after=mix_of(one for one in group if one.due_ns >= recovered_ns),
        recovery_ms=_ms_between(span.fault_end_ns, span.recovered_ns),
        restart_ms=None
        if span.ready_ns is None
        else round((span.ready_ns - span.fault_ns) / 1e6, 1),
        note=span.note,
        skipped=span.skipped,
    )


def _ms_between(begin_ns: int, end_ns: int | None) -> float | None:
    return None if end_ns is None else round(max(0, end_ns - begin_ns) / 1e6, 1)


def _unanswered(
    asked: Sequence[Asked],
    spans: Sequence[Span],
    groups: Sequence[Sequence[Asked]],
    late: _Late,
    grace_ms: float,
) -> Iterator[str]:
    missing: Counter[str] = Counter()
    reasons: Counter[str] = Counter()
    overdue: Counter[str] = Counter()
    worst_ms = 0.0
    for span, group in zip(spans, groups, strict=True):
        for one in group:
            if span.is_apart(one):
                continue
            if not (one.is_answered or one.is_refused):
                missing[str(span.exercise)] += 1
                reasons[one.failure or f"status {one.status}"] += 1
            elif late(one) > 0:
                overdue[str(span.exercise)] += 1
                worst_ms = max(worst_ms, one.waited_ms)
    if missing:
        yield _sentence(
            ANSWERED, f"{missing.total():,} without an answer ({_counted(reasons)})", missing
        )
    if overdue:
        text = f"{overdue.total():,} later than the SLA + {grace_ms:g} ms by the proxy's clock"
        yield _sentence(ANSWERED, f"{text}, the latest after {worst_ms:.0f} ms", overdue)
    if asked and not any(one.is_answered for one in asked):
        statuses = Counter(one.failure or f"status {one.status}" for one in asked)
        yield f"{ANSWERED}: none of {len(asked):,} requests was answered ({_counted(statuses)})"


def _unmarked(
    answered: Sequence[Asked], schedules: Mapping[str, Known], read: Mapping[bytes, object]
) -> Iterator[str]:
    wrong: Counter[str] = Counter()
    for one in answered:
        if reason := _mismarked(one, schedules.get(one.schedule), read):
            wrong[reason] += 1
    if wrong:
        yield f"{MARKED}: {_counted(wrong)}"


def _mismarked(one: Asked, known: Known | None, read: Mapping[bytes, object]) -> str:
    if one.kind not in ("preferred", "fallback", "default"):
        return f"of the kind {one.kind[:40]!r}"
    if (one.kind == "default") != (one.model is None):
        return f"marked {one.kind}, and given by {one.model or 'no model'}"
    if known is None:
        return ""
    if one.kind == "default" and read.get(one.result) != known.default:
        return "marked default, and not the schedule's"
    if one.kind == "preferred" and known.first is not None:
        others = [m for m in (one.model or "").split("+") if m not in known.first]
        if others:
            return f"marked preferred, and given by {others[0]}"
    return ""


def _not_once(answered: Sequence[Asked], record: Record) -> Iterator[str]:
    ids = Counter(one.id for one in answered)
    if again := [id_ for id_, count in ids.items() if count > 1]:
        yield f"{ONCE}: the same id in two answers: {_some(again)}"
    if record.twice:
        yield f"{ONCE}: two recorded results: {_some(record.twice)}"


def _recorded_differently(answered: Sequence[Asked], record: Record) -> Iterator[str]:
    unknown, differ = [], []
    for one in answered:
        recorded = record.answers.get(one.id)
        if recorded is None:
            unknown.append(one.id)
        elif recorded != (one.kind, one.model, one.schedule, one.answered_by):
            differ.append(one.id)
    if unknown:
        yield f"{RECORDED}: answers that are not recorded: {_some(unknown)}"
    if differ:
        yield f"{RECORDED}: answers that are recorded differently: {_some(differ)}"


def _lost(answered: Sequence[Asked], record: Record) -> Iterator[str]:
    """Yield broken promises about lost records. A server reads requests only from the log, so each
    one that it has decided must be there.
    """
    lost = [o.id for o in answered if o.answered_by == "server" and o.id not in record.logged]
    if len(lost) > record.damaged:
        yield f"{KEPT}: answered requests that are not in the input stream: {_some(lost)}"
    if record.unnamed:
        names = _some(record.unnamed)
        yield f"{KEPT}: files were damaged, and verify finds nothing in {names}"


def _not_recovered(spans: Sequence[Span]) -> Iterator[str]:
    left = [s for s in spans if s.recovered_ns is None and not s.skipped]
    if left:
        waited_s = max((s.end_ns - s.fault_end_ns) / 1e9 for s in left)
        names = Counter(str(s.exercise) for s in left)
        yield _sentence(RECOVERED, f"the mix was not back within {waited_s:.0f} s", names)


def _starved(spans: Sequence[Span], groups: Sequence[Sequence[Asked]]) -> Iterator[str]:
    """Yield how many requests of the usual clients were refused while another client was greedy."""
    refused: Counter[str] = Counter()
    for span, group in zip(spans, groups, strict=True):
        if span.exercise.fault == "greedy":
            refused.update(
                one.failure or f"status {one.status}"
                for one in group
                if one.is_refused and one.due_ns >= span.fault_ns
            )
    if refused:
        yield f"{FAIR}: {refused.total():,} requests of others were refused ({_counted(refused)})"


def _not_live(answered: Sequence[Asked], edits: Sequence[str]) -> Iterator[str]:
    used = {one.schedule for one in answered}
    if unused := [label for label in edits if label and label not in used]:
        yield f"{LIVE}: no answer was given by {_some(unused)}"


def _sentence(promise: str, what: str, exercises: Counter[str]) -> str:
    return f"{promise}: {what}, at {_some(list(exercises))}"


def _counted(counter: Counter[str]) -> str:
    return ", ".join(f"{count:,} {what}" for what, count in counter.most_common(_SHOWN))


def _some(items: Iterable[str]) -> str:
    names = list(items)
    more = f" and {len(names) - _SHOWN:,} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more
