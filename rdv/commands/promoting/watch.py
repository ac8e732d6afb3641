"""Follow the answers of a new champion."""

from __future__ import annotations

import select
import time
from collections.abc import Callable
from types import TracebackType

from rdv.analysis.promote.watch import Answer, Bounds, Breach, Vigil
from rdv.commands.promoting.proposal import Proposal
from rdv.decision import Decision
from rdv.rendezvous.messages import MalformedMessage, Result, decode_result
from rdv.status.window import MISS_GRACE_MS
from rdv.stream import Consumer, Record, open_stream
from rdv.stream.errors import OffsetOutOfRange, RecordsDamaged, RecordsLost
from rdv.stream.passing import pass_over

_POLL_RECORDS = 5_000
_POLL_S = 0.5


class Watch:
    """The watch must be opened before the change, so that no answer is missed. For one thread
    only.
    """

    def __init__(self, decision: Decision, proposal: Proposal, bounds: Bounds) -> None:
        self._proposal = proposal
        self.vigil = Vigil(bounds)
        self._stream = open_stream(decision.stream_path("results"), create=False)
        self._results: Consumer = self._stream.consumer(start="latest")

    def follow(self, seconds: float, tell: Callable[[Vigil, float], None]) -> list[Breach]:
        """Follow answers until a limit breaks, or for `seconds`; `tell` gets the state and the
        seconds left.
        """
        end_s = time.monotonic() + seconds
        while (left_s := end_s - time.monotonic()) > 0:
            for record in self._poll(min(left_s, _POLL_S)):
                self._add(record)
            if found := self.vigil.breaches():
                return found
            tell(self.vigil, left_s)
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
            self.vigil.add(answer)

    def close(self) -> None:
        self._results.close()
        self._stream.close()

    def __enter__(self) -> Watch:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def read_answer(result: Result, proposal: Proposal) -> Answer | None:
    """Return what a result counts for; None if it belongs to another schedule.

    A server's result that came too late does not count: the proxy has answered by itself, and that
    is recorded too.
    """
    if result.schedule != proposal.after.label:
        return None
    by_proxy = result.answered_by == "proxy"
    is_late = result.waited_ms > proposal.after.sla_ms + MISS_GRACE_MS
    if is_late and not by_proxy:
        return None
    said = [one.outcome for one in result.arrived if one.model == proposal.challenger]
    reported = bool(said) and said[0] in ("result", "error")
    return Answer(
        is_miss=by_proxy,
        is_default=result.kind == "default",
        is_error=said[0] == "error" if reported else None,
        is_other=result.model is None or proposal.challenger not in result.model.split("+"),
    )
