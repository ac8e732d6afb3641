"""Make a proposal live, follow the answers of the new champion, and take the proposal back."""

from __future__ import annotations

import contextlib
import select
import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Self, TypeVar

from msgspec import UnsetType

from rdv.analysis.promote.behaviour import IDS_MAX, Behaviour, Expected, KeysOf
from rdv.analysis.promote.proposal import Proposal
from rdv.analysis.promote.result import Switched
from rdv.analysis.promote.watch import Answer, Bounds, Breach, WatchPeriod
from rdv.codes import EventKind
from rdv.decision import Decision, replace_schedule
from rdv.decision.edit import note_change
from rdv.decision.events import Event
from rdv.decision.holder import holder_of
from rdv.decision.switch import switch
from rdv.rendezvous.messages import (
    MalformedMessage,
    Result,
    Score,
    decode_result,
    decode_score,
    decode_truth,
)
from rdv.rendezvous.schedule import Schedule
from rdv.rendezvous.topology import INPUT, OUTCOMES, RESULTS, SCORES
from rdv.status.window import MISS_GRACE_MS
from rdv.stream import Consumer, Record, open_stream, pass_over
from rdv.stream.errors import OffsetOutOfRange, RecordsDamaged, RecordsLost

_POLL_RECORDS = 5_000
_POLL_REQUESTS = 500
"""Fewer, as their data may be long."""
_POLL_S = 0.5
T = TypeVar("T")


def make_live(decision: Decision, proposal: Proposal) -> Switched:
    """Make the proposal live.

    Raises EditRefused if the file has been edited meanwhile, DecisionBusy, NotLive, SystemFaults.
    """
    switched = _replace(decision, proposal.after, proposal.old, proposal.new)
    text = f"{proposal.challenger} is the champion in place of {proposal.champion}"
    note_promotion(decision, proposal, "promoted", text)
    return switched


def take_back(decision: Decision, proposal: Proposal, why: str = "") -> Switched:
    """Restore the schedule as it was. Raises what `make_live` raises."""
    switched = _replace(decision, proposal.before, proposal.new, proposal.old)
    text = f"{proposal.champion} is the champion again in place of {proposal.challenger}"
    note_promotion(decision, proposal, "rolled_back", f"{text}{f': {why}' if why else ''}")
    return switched


def note_promotion(decision: Decision, proposal: Proposal, kind: EventKind, text: str) -> None:
    """Record an event of a promotion."""
    labels = proposal.before.label, proposal.after.label
    before, after = labels if kind != "rolled_back" else reversed(labels)
    event = Event(
        kind=kind,
        message=f"{text} ({before} → {after})",
        about=proposal.path,
        model=proposal.challenger,
        before=before,
        after=after,
    )
    note_change(decision.directory, event)


def _replace(decision: Decision, schedule: Schedule, old: str, new: str) -> Switched:
    """Replace the text of the schedule's file, if it is still `old`."""

    def write() -> None:
        replace_schedule(decision.directory, schedule.name, old, new)

    if holder_of(decision.directory) is None:
        write()
        return Switched(None)
    return Switched(switch(decision, schedule, write))


class Watch:
    """Follows the answers of a new champion. For one thread only.

    It must be opened before the change, so that no answer is missed.
    """

    def __init__(
        self, decision: Decision, proposal: Proposal, bounds: Bounds, expected: Expected
    ) -> None:
        self._proposal = proposal
        self.period = WatchPeriod(bounds)
        self.seen = 0
        """The number of results, of any schedule."""
        self._behaviour = Behaviour(expected, proposal.champion, proposal.challenger)
        self._keys = KeysOf()
        with contextlib.ExitStack() as opening:
            names = [proposal.champion, proposal.challenger]
            self._requests = _latest(decision, INPUT, None, opening)
            self._results = _latest(decision, RESULTS, None, opening)
            self._scores = _latest(decision, SCORES, names, opening)
            self._outcomes = _latest(decision, OUTCOMES, None, opening)
            self._stack = opening.pop_all()

    def follow(self, seconds: float, progress: Callable[[float], None]) -> list[Breach]:
        """Follow answers until a limit breaks, or for `seconds`; return the limits that are broken.

        `progress` is called with the seconds left; `period` has the counts.
        """
        end_s = time.monotonic() + seconds
        while (left_s := end_s - time.monotonic()) > 0:
            results = _read(_poll(self._results, min(left_s, _POLL_S)), decode_result)
            scores = _read(_poll(self._scores, 0.0), decode_score)
            self._read_keys({one.id for one in results} | {one.id for one in scores})
            for result in results:
                self._add(result)
            for score in scores:
                self._add_score(score)
            for record in _poll(self._outcomes, 0.0):
                self._add_outcome(record)
            if found := self.period.breaches():
                return found
            progress(left_s)
        return []

    def _read_keys(self, ids: set[str]) -> None:
        """Read requests until those with these ids are known; each is in the log before its result.

        Those from before the watch are not found.
        """
        missing = {id_ for id_ in ids if id_ not in self._keys}
        for _ in range(IDS_MAX // _POLL_REQUESTS):
            records = _poll(self._requests, 0.0, _POLL_REQUESTS) if missing else []
            if not records:
                return
            missing.difference_update(self._keys.add(record.value) for record in records)

    def _add(self, result: Result) -> None:
        self.seen += 1
        answer = read_answer(result, self._proposal)
        if answer is not None:
            self.period.add(replace(answer, unit=self._keys.of(result.id)))

    def _add_score(self, score: Score) -> None:
        if not isinstance(score.result, UnsetType):
            unit = self._keys.of(score.id)
            for fact in self._behaviour.score(score.model, score.id, bytes(score.result), unit):
                self.period.note(fact)

    def _add_outcome(self, record: Record) -> None:
        with contextlib.suppress(MalformedMessage):
            truth = decode_truth(record.value)
            for fact in self._behaviour.truth(truth.id, bytes(truth.outcome)):
                self.period.note(fact)

    def close(self) -> None:
        self._stack.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _latest(
    decision: Decision, name: str, topics: list[str] | None, stack: contextlib.ExitStack
) -> Consumer:
    """Return a reader of what is appended to a stream from now on; `stack` closes it."""
    stream = stack.enter_context(open_stream(decision.stream_path(name), create=False))
    return stack.enter_context(stream.consumer(topics, start="latest"))


def _poll(consumer: Consumer, timeout_s: float, count: int = _POLL_RECORDS) -> list[Record]:
    try:
        return consumer.poll(count, timeout_s)
    except (RecordsLost, RecordsDamaged, OffsetOutOfRange) as error:
        if not pass_over(consumer, error):
            # Nothing is readable yet: try again after the next wake-up.
            select.select([consumer.fileno()], [], [], timeout_s)
        return []


def _read(records: Iterable[Record], decode: Callable[[bytes], T]) -> list[T]:
    """Return the messages, without those that cannot be read."""
    found = []
    for record in records:
        with contextlib.suppress(MalformedMessage):
            found.append(decode(record.value))
    return found


def read_answer(result: Result, proposal: Proposal) -> Answer | None:
    """Return what a result counts for; None if it belongs to another schedule.

    A server's result that is too late does not count: the proxy's own answer is recorded too.
    """
    if result.schedule != proposal.after.label:
        return None
    by_proxy = result.answered_by == "proxy"
    is_late = result.waited_ms > proposal.after.sla_ms + MISS_GRACE_MS
    if is_late and not by_proxy:
        return None
    outcome = next((a.outcome for a in result.arrived if a.model == proposal.challenger), None)
    return Answer(
        is_miss=by_proxy,
        is_default=result.kind == "default",
        is_error=outcome == "error" if outcome in ("result", "error") else None,
        is_other=result.model is None or proposal.challenger not in result.model.split("+"),
    )
