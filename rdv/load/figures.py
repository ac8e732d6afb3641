"""A load run counts kinds, models, misses and right answers besides latencies. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import msgspec
import orjson

from rdv.load.generator import Tally
from rdv.load.generator.tally import Failed
from rdv.load.rows import Row, is_right, pick
from rdv.status.window import MISS_GRACE_MS

_OK = 200


class _Answer(msgspec.Struct):
    kind: str
    result: msgspec.Raw
    waited_ms: float
    schedule: str
    model: str | None = None


_decode = msgspec.json.Decoder(_Answer).decode


class Given(NamedTuple):
    """The model that gave an answer, and its kind."""

    kind: str
    model: str


class Figures:
    """The counts of a run, or of a part of it; `sla_ms` returns the SLA of a schedule's label."""

    def __init__(self, rows: Sequence[Row], sla_ms: Callable[[str], float]) -> None:
        self._rows = rows
        self._sla_ms = sla_ms
        self.tally = Tally()
        self.given: Counter[Given] = Counter()
        self.judged: Counter[Given] = Counter()
        self.right: Counter[Given] = Counter()
        self.missed_by_client = 0
        """How many answers were later than SLA + 10 ms, from the scheduled send."""
        self.missed_by_proxy = 0
        """The same by the proxy's clock, from when it had the request."""
        self.garbled = 0

    def answered(
        self, number: int, status: int, latency_ns: int, service_ns: int, body: bytes
    ) -> None:
        self.tally.answered(number, status, latency_ns, service_ns, body)
        if status != _OK:
            return
        try:
            answer = _decode(body)
        except msgspec.DecodeError:
            self.garbled += 1
            return
        given = Given(answer.kind, answer.model or "-")
        self.given[given] += 1
        limit_ms = self._sla_ms(answer.schedule) + MISS_GRACE_MS
        self.missed_by_client += latency_ns > limit_ms * 1e6
        self.missed_by_proxy += answer.waited_ms > limit_ms
        self._judge(number, given, answer)

    def _judge(self, number: int, given: Given, answer: _Answer) -> None:
        truth = pick(self._rows, number).truth
        if truth is None or given.kind == "default":
            return
        verdict = is_right(orjson.loads(bytes(answer.result)), truth)
        if verdict is not None:
            self.judged[given] += 1
            self.right[given] += verdict

    def failed(self, number: int, reason: Failed, latency_ns: int) -> None:
        self.tally.failed(number, reason, latency_ns)

    @property
    def answers(self) -> int:
        """The number of answers with status 200 that could be read."""
        return self.given.total()

    def kind_share(self, kind: str) -> float:
        """Return the share of answers of this kind."""
        count = sum(n for given, n in self.given.items() if given.kind == kind)
        return count / self.answers if self.answers else 0.0

    def right_share(self) -> float | None:
        """Return the share of right answers among models' answers; None if no truth is known."""
        judged = self.judged.total()
        return self.right.total() / judged if judged else None

    def measured(self) -> dict[str, float]:
        """Return the values for `--fail-if`: latencies in ns, shares of all requests."""
        requests = max(1, self.tally.requests)
        kinds = {k: self.kind_share(k) * self.answers / requests for k in ("default", "fallback")}
        return {**self.tally.measured(), **kinds, "misses": self.missed_by_client / requests}

    def models(self) -> list[dict[str, Any]]:
        """Return a row for each model and kind, the most frequent first."""
        return [
            {
                "model": None if given.model == "-" else given.model,
                "kind": given.kind,
                "answers": count,
                "share": count / self.answers,
                "right": self.right[given] / self.judged[given] if self.judged[given] else None,
            }
            for given, count in self.given.most_common()
        ]
