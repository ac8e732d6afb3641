"""Make a proposal live, follow the answers of the new champion, and take the proposal back."""

from __future__ import annotations

import select
import time
from collections.abc import Callable
from typing import Self

from rdv.analysis.promote.proposal import Proposal
from rdv.analysis.promote.result import Switched
from rdv.analysis.promote.watch import Answer, Bounds, Breach, WatchPeriod
from rdv.decision import Decision, replace_schedule
from rdv.decision.holder import holder_of
from rdv.decision.switch import switch
from rdv.rendezvous.messages import MalformedMessage, Result, decode_result
from rdv.rendezvous.schedule import Schedule
from rdv.status.window import MISS_GRACE_MS
from rdv.stream import Consumer, Record, open_stream, pass_over
from rdv.stream.errors import OffsetOutOfRange, RecordsDamaged, RecordsLost

_POLL_RECORDS = 5_000
_POLL_S = 0.5


def make_live(decision: Decision, proposal: Proposal) -> Switched:
    """Make the proposal live.

    Raises EditRefused if the file has been edited meanwhile, DecisionBusy, NotLive, SystemFaults.
    """
    return _replace(decision, proposal.after, proposal.old, proposal.new)


def take_back(decision: Decision, proposal: Proposal) -> Switched:
    """Restore the schedule as it was. Raises what `make_live` raises."""
    return _replace(decision, proposal.before, proposal.new, proposal.old)


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

    def __init__(self, decision: Decision, proposal: Proposal, bounds: Bounds) -> None:
        self._proposal = proposal
        self.period = WatchPeriod(bounds)
        self._stream = open_stream(decision.stream_path("results"), create=False)
        self._results: Consumer = self._stream.consumer(start="latest")

    def follow(self, seconds: float, progress: Callable[[float], None]) -> list[Breach]:
        """Follow answers until a limit breaks, or for `seconds`; return the limits that are broken.

        `progress` is called with the seconds left; `period` has the counts.
        """
        end_s = time.monotonic() + seconds
        while (left_s := end_s - time.monotonic()) > 0:
            for record in self._poll(min(left_s, _POLL_S)):
                self._add(record)
            if found := self.period.breaches():
                return found
            progress(left_s)
        return []

    def _poll(self, timeout_s: float) -> list[Record]:
        try:
            return self._results.poll(_POLL_RECORDS, timeout_s)
        except (RecordsLost, RecordsDamaged, OffsetOutOfRange) as error:
            if not pass_over(self._results, error):
                # Nothing is readable yet: try again after the next wake-up.
                select.select([self._results.fileno()], [], [], timeout_s)
            return []

    def _add(self, record: Record) -> None:
        try:
            result = decode_result(record.value)
        except MalformedMessage:
            return
        if (answer := read_answer(result, self._proposal)) is not None:
            self.period.add(answer)

    def close(self) -> None:
        self._results.close()
        self._stream.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


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
