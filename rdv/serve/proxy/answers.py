"""Builds the body of a 200, counts answers, and records those that the proxy gave itself."""

from __future__ import annotations

from dataclasses import dataclass, field

import msgspec
import orjson

from rdv.codes import ResultCode
from rdv.rendezvous.messages import Request, Result, encode_result
from rdv.rendezvous.schedule import Schedule
from rdv.rendezvous.topology import backstop_topic
from rdv.serve.outbox import Outbox

_encode = msgspec.json.Encoder().encode

MODELS_MAX = 1_000
"""The maximum number of names counted one by one; each combination of models has a name."""

OTHERS = "(others)"


class Answer(msgspec.Struct, frozen=True, gc=False):
    """Contains the answer to `POST /v1/decide`."""

    id: str
    result: msgspec.Raw
    model: str | None
    version: str | None
    kind: str
    reason: str
    code: str
    step: int
    waited_ms: float
    schedule: str
    cohort: str | None
    answered_by: str
    propensity: float | msgspec.UnsetType = msgspec.UNSET
    """The probability of the schedule that was drawn; only there where a cohort explores."""


class TracedAnswer(Answer, frozen=True, gc=False, kw_only=True):
    """Adds the arrivals, for a client that has asked for a trace."""

    trace: list[dict[str, object]]


def answer_body(result: Result, waited_ms: float, *, trace: bool) -> bytes:
    """Return the JSON of an answer; `waited_ms` is until now, by the proxy's own clock.

    That of the record is until the decision of the server, which is earlier.
    """
    plain = (
        result.id,
        result.result,
        result.model,
        result.version,
        result.kind,
        result.reason,
        result.code,
        result.step,
        round(waited_ms, 3),
        result.schedule,
        result.cohort,
        result.answered_by,
        msgspec.UNSET if result.propensity is None else result.propensity,
    )
    if not trace:
        return _encode(Answer(*plain)) + b"\n"
    arrivals: list[dict[str, object]] = [
        {"model": a.model, "arrived_ms": a.arrived_ms, "outcome": a.outcome} for a in result.arrived
    ]
    return _encode(TracedAnswer(*plain, trace=arrivals)) + b"\n"


def backstop_result(
    request: Request, schedule: Schedule, waited_ms: float, code: ResultCode, reason: str
) -> Result:
    """Return the marked default, from the proxy itself."""
    return Result(
        request.id,
        request.reply_to,
        "default",
        msgspec.Raw(orjson.dumps(schedule.default)),
        schedule.label,
        round(waited_ms, 3),
        reason=reason,
        code=code,
        cohort=request.cohort,
        answered_by="proxy",
        propensity=request.propensity,
    )


@dataclass
class Counts:
    """Counts requests and answers; the counters only grow. One thread."""

    requests: int = 0
    refused: int = 0
    """Refused with a 4xx or 503: these were not accepted."""
    preferred: int = 0
    fallback: int = 0
    default: int = 0
    backstop: int = 0
    """Answered by the proxy itself, since no result had come in time."""
    late: int = 0
    """Answered after the SLA, by the proxy's own clock: the default, or what came just then."""
    misses: int = 0
    """Answered later than the SLA plus 10 ms."""
    unlogged: int = 0
    """Answered with the default because it is not in the log: the sum of the next two."""
    too_large: int = 0
    """The record would have been larger than the log allows."""
    unwritten: int = 0
    """The log could not be written."""
    gone: int = 0
    """Accepted, and not answered: the client had left."""
    malformed: int = 0
    """Results that could not be read."""
    by_model: dict[str, int] = field(default_factory=dict)

    def count_model(self, model: str) -> None:
        if model not in self.by_model and len(self.by_model) >= MODELS_MAX:
            model = OTHERS
        self.by_model[model] = self.by_model.get(model, 0) + 1


class OwnAnswers:
    """Writes them in batches; what cannot be written is kept and retried. One thread.

    The number of kept answers is bounded (`outbox.LINES_MAX`); beyond it, the oldest are lost, and
    counted.
    """

    def __init__(self, outbox: Outbox, proxy: str) -> None:
        self._topic = backstop_topic(proxy)
        self._outbox = outbox
        self._new: dict[int, list[bytes]] = {}

    def __len__(self) -> int:
        return sum(map(len, self._new.values())) + self._outbox.waiting

    @property
    def lost(self) -> int:
        return self._outbox.lost

    def add(self, partition: int, result: Result) -> None:
        """Add an answer, to be written with the next `flush`."""
        self._new.setdefault(partition, []).append(encode_result(result))

    def flush(self) -> None:
        """Write the new answers, or queue them. Returns at once, raises nothing."""
        if self._new:
            new, self._new = self._new, {}
            for partition, lines in new.items():
                self._outbox.send(self._topic, lines, partition)

    def close(self) -> None:
        self.flush()
        self._outbox.close()
