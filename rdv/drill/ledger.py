"""The ledger records what clients saw: one entry for each request, in the order of the answers."""

from __future__ import annotations

import time
from collections.abc import Callable

import msgspec

from rdv.drill.mix import OK, Asked
from rdv.loadgen import Histogram
from rdv.loadgen.sink import Failed


class _Answer(msgspec.Struct):
    id: str
    kind: str
    result: msgspec.Raw
    waited_ms: float
    schedule: str
    answered_by: str
    model: str | None = None
    step: int = 0


_decode = msgspec.json.Decoder(_Answer).decode


class Ledger:
    """The entries of all proxies. For one thread only; `listener` is called with every entry."""

    def __init__(self) -> None:
        self.entries: list[Asked] = []
        self.latency = Histogram()
        """Latencies by the client's clock, from the scheduled send, in ns."""
        self.listener: Callable[[Asked], None] | None = None

    def add(self, asked: Asked) -> None:
        self.entries.append(asked)
        if self.listener is not None:
            self.listener(asked)

    def since(self, begin_ns: int) -> list[Asked]:
        """Return the entries of requests that were due at or after `begin_ns`."""
        found = []
        for entry in reversed(self.entries):
            if entry.done_ns < begin_ns:
                break
            if entry.due_ns >= begin_ns:
                found.append(entry)
        return found


class DoorSink:
    """The sink of the load generator of one proxy."""

    def __init__(self, ledger: Ledger, port: int) -> None:
        self._ledger = ledger
        self._port = port

    def answered(
        self, number: int, status: int, latency_ns: int, service_ns: int, body: bytes
    ) -> None:
        del number, service_ns
        now_ns = time.monotonic_ns()
        due_ns = now_ns - latency_ns
        self._ledger.latency.record(latency_ns)
        if status != OK:
            self._ledger.add(Asked(self._port, due_ns, now_ns, status))
            return
        try:
            answer = _decode(body)
        except msgspec.DecodeError:
            self._ledger.add(Asked(self._port, due_ns, now_ns, status, "garbled"))
            return
        self._ledger.add(
            Asked(
                self._port,
                due_ns,
                now_ns,
                status,
                "",
                answer.id,
                answer.kind,
                answer.model,
                answer.answered_by,
                answer.schedule,
                answer.waited_ms,
                answer.step,
                bytes(answer.result) if answer.kind == "default" else b"",
            )
        )

    def failed(self, number: int, reason: Failed, latency_ns: int) -> None:
        del number
        now_ns = time.monotonic_ns()
        self._ledger.add(Asked(self._port, now_ns - latency_ns, now_ns, 0, reason))
