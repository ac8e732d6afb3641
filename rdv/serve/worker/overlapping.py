"""Runs the loop around a model with several batches in flight: one that is asked over HTTP.

A batch is sent and the loop goes on; answers are reported as they come. What cannot be sent in time
because all slots are taken is refused as soon as that is certain, and everything is refused at once
while the model's server is not asked (`unavailable`). A model that must see every request waits for
its server instead; the log keeps what has not been read.

Nothing is written into the crash record: no code of a model runs here that could end the process.
Requests in flight are not committed, so that the next worker reads them again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import chain
from typing import Protocol

from rdv.coded import Coded
from rdv.models import Model, Outcome
from rdv.models.remote.model import Done
from rdv.rendezvous.backlog import REPORT_NS, Refused, Waiting
from rdv.serve.outbox import CLOSE_S
from rdv.serve.worker.worker import Worker
from rdv.stream import TopicPartition
from rdv.trace_context import child_headers, is_sampled

_NEVER_NS = 2**62


class OverlappingModel(Protocol):
    """The interface of a model whose batches overlap; see `rdv.models.remote.RemoteModel`."""

    version: str
    has_room: bool

    def predict(self, rows: list[object]) -> list[Outcome]: ...
    def fileno(self) -> int: ...
    def unavailable(self) -> Coded: ...
    def next_ns(self) -> int: ...
    def submit(
        self,
        key: object,
        rows: Sequence[bytes],
        wanted_ns: int,
        due_ns: int,
        headers: Sequence[tuple[str, str]] = (),
    ) -> None: ...
    def collect(self) -> list[Done]: ...


def overlaps(model: Model) -> bool:
    """Return whether the model has the interface of `OverlappingModel`."""
    return hasattr(model, "submit")


def trace_of(batch: Sequence[Waiting], model: str) -> tuple[tuple[str, str], ...]:
    """Return the trace headers of a batch, whose server can belong to one trace only.

    It is that of the first request with a sampled trace, else of the first with a trace. The parent
    is the span that `rdv.traces` exports for the model.
    """
    traced = [one.request for one in batch if one.request.traceparent]
    if not traced:
        return ()
    request = next((one for one in traced if is_sampled(one.traceparent)), traced[0])
    return child_headers(request.id, model, request.traceparent, request.tracestate)


class _Sent:
    """A batch in flight."""

    __slots__ = ("batch", "began_ns")

    def __init__(self, batch: list[Waiting], began_ns: int) -> None:
        self.batch, self.began_ns = batch, began_ns


class OverlappingWorker(Worker):
    """Evaluates one model whose batches overlap. One thread; `waker` stops it from others."""

    def __init__(self, *arguments: object, **named: object) -> None:
        super().__init__(*arguments, **named)  # type: ignore[arg-type]
        self._remote: OverlappingModel = self._model  # type: ignore[assignment]
        self._sent: dict[int, _Sent] = {}
        self._feeds.watch(self._remote.fileno())

    def turn(self, *, read: bool = True) -> None:
        """Report what has been answered, read, refuse, and send as many batches as there is room
        for.
        """
        self._collect()
        backlog = self._backlog
        if read and backlog.has_room:
            backlog.add(self.requests.read(), self._clock.monotonic_ns())
        while len(backlog):
            why = self._remote.unavailable()
            if why.code and backlog.when_behind == "all":
                break
            if why.code:
                self._refuse_all(why)
                break
            slots = 2 if self._remote.has_room else 0
            plan = backlog.plan(self._clock.monotonic_ns(), slots)
            if plan.refused:
                self.reports.refuse(plan.refused)
            if not plan.batch:
                break
            self._send(plan.batch)
        self._collect()  # what could not be sent has ended already
        self.requests.commit(self._unreported(), self._clock.monotonic_ns())

    def _refuse_all(self, why: Coded) -> None:
        taken = self._backlog.take_all()
        self.reports.refuse([Refused(one, "unavailable", 0.0, why.text) for one in taken])

    def _send(self, batch: list[Waiting]) -> None:
        now_ns = self._clock.monotonic_ns()
        wanted_ns, due_ns = self._times_ns(batch, now_ns)
        sent = _Sent(batch, now_ns)
        self._sent[id(sent)] = sent
        rows = [bytes(one.request.data) for one in batch]
        self._remote.submit(id(sent), rows, wanted_ns, due_ns, trace_of(batch, self._name))

    def _times_ns(self, batch: list[Waiting], now_ns: int) -> tuple[int, int]:
        """Return until when an answer is wanted, and until when it is of any use."""
        if self._backlog.when_behind == "all":
            return _NEVER_NS, _NEVER_NS
        due_ns = max(one.deadline_ns for one in batch) - REPORT_NS
        wanted_ns = max(one.target_ns for one in batch) - REPORT_NS
        return (wanted_ns if wanted_ns > now_ns else due_ns), due_ns

    def _collect(self) -> None:
        """Report the batches that have ended."""
        for done in self._remote.collect():
            sent = self._sent.pop(done.key)
            newest, self._remote.version = self._remote.version, done.version
            self.reports.evaluated(sent.batch, done.outcomes, sent.began_ns, done.took_ms)
            self._remote.version = newest
            if done.is_measured:
                self._backlog.cost.learn(len(sent.batch), done.took_ms)

    def _unreported(self) -> chain[Waiting]:
        return chain(self._backlog, *(sent.batch for sent in self._sent.values()))

    def _release(self, places: list[TopicPartition]) -> None:
        """Finish what has been read of these partitions, because another worker is to have them."""
        leaving = frozenset(places)
        if self._backlog.when_behind == "all":
            self.requests.rewind(self._backlog, leaving)
            self._backlog.drop(leaving)
        wait_ms, self._backlog.batch_wait_ms = self._backlog.batch_wait_ms, 0.0
        self._finish_until(lambda: not any(one.place in leaving for one in self._unreported()))
        self._backlog.batch_wait_ms = wait_ms
        self.requests.commit(self._unreported(), self._clock.monotonic_ns(), at_once=True)

    def _finish_until(self, is_done: Callable[[], bool]) -> None:
        """Go on without reading; every request in flight ends at its deadline at the latest."""
        while not is_done():
            self.turn(read=False)
            if not is_done():
                self._feeds.block(self._wait_s())

    def wait(self) -> None:
        """Block until requests or answers may have come, or something is due."""
        self._feeds.wait(self._wait_s())

    def _wait_s(self) -> float:
        now_ns, backlog = self._clock.monotonic_ns(), self._backlog
        at_ns = min(now_ns + 10**9, self._remote.next_ns())
        if len(backlog):
            at_ns = min(at_ns, backlog.refuses_at_ns(now_ns))
            if (held_ns := backlog.held_until_ns()) > now_ns:
                at_ns = min(at_ns, held_ns)
        return max(0, at_ns - now_ns) / 1e9

    def finish(self) -> None:
        """Report on what is in flight, refuse or send what has been read, and close.

        What a model must see and has not been sent stays for the next worker.
        """
        self._backlog.batch_wait_ms = 0.0
        if self._backlog.when_behind == "all":
            self.requests.rewind(self._backlog, {one.place for one in self._backlog})
            self._backlog.drop({one.place for one in self._backlog})
        self._finish_until(lambda: not self._sent and not len(self._backlog))
        self.reports.flush(CLOSE_S)
        self.requests.commit((), 2**62)
        self.requests.close()
        self.reports.close()
        self._model.close()
        self._crash_record.close()

    @property
    def waiting_count(self) -> int:
        """Return the number of requests that have been read and not reported."""
        return len(self._backlog) + sum(len(sent.batch) for sent in self._sent.values())
