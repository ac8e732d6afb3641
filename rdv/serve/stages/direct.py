"""Serves one model directly behind the HTTP server: the smallest stage."""

from __future__ import annotations

import asyncio
import contextlib
import os
import queue
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import msgspec
import uvloop

from rdv.coded import coded
from rdv.codes import ResultCode
from rdv.decision import Decision, ModelNotFound, load_decision
from rdv.decision.streams import Streams
from rdv.models import Model, ModelError, ModelNotLoaded, evaluate, open_model
from rdv.rendezvous.messages import Kind, Result, encode_request
from rdv.serve.process import start_thread, user_code_thread
from rdv.serve.proxy.in_flight import OpenRequest
from rdv.serve.proxy.main import ProxyProcess
from rdv.serve.proxy.proxy import Proxy
from rdv.serve.stages import START_WAIT_S, STOP_S, log, log_not_loaded, memory_streams


def serve_direct(directory: str, model: str) -> None:
    """Serve one model; see `run_direct`."""
    decision = load_decision(os.path.abspath(directory)).replace(partitions=1)
    if model not in decision.models:
        raise ModelNotFound(directory, model, tuple(sorted(decision.models)))
    with memory_streams(model) as streams:
        uvloop.run(_serve(decision, model, streams))


async def _serve(decision: Decision, name: str, streams: Streams) -> None:
    config = decision.models[name]
    load = partial(open_model, decision.directory, name, **config.opening())
    caller = Caller(name, load, config.batch_max, config.predict_timeout_ms)
    make = partial(DirectProxy, caller=caller, model=name)
    process = ProxyProcess(decision, 0, streams, make, is_up=caller.is_up)
    caller.start()
    try:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(caller.settled.wait(), START_WAIT_S)
        await process.run()
    finally:
        caller.stop()


class Caller:
    """Runs the model in its own thread.

    The thread loads it, calls it with all waiting requests, up to `batch_max` rows, and closes it.
    A model that cannot be loaded is missing, and one that takes longer than `timeout_ms` for a
    batch hangs: `fault` says why it cannot be asked.
    """

    def __init__(
        self, name: str, load: Callable[[], Model], batch_max: int, timeout_ms: float
    ) -> None:
        self.model: Model | None = None
        self.fault = "is still being loaded"
        self.settled = asyncio.Event()
        self._name = name
        self._load = load
        self._batch_max = batch_max
        # Bounded by the proxy's in_flight: each entry is or was lately on it.
        self._waiting: queue.SimpleQueue[OpenRequest | None] = queue.SimpleQueue()
        self._thread = user_code_thread("rdv-model", self._run)
        self._loop = asyncio.get_running_loop()
        self._proxy: DirectProxy | None = None
        self._timeout_s = timeout_ms / 1000
        self._busy: tuple[float, list[OpenRequest]] | None = None
        """Since when the thread has been in a call, in seconds, and with which batch."""
        self._timer: asyncio.TimerHandle | None = None

    def attach(self, proxy: DirectProxy) -> None:
        self._proxy = proxy

    def start(self) -> None:
        start_thread(self._thread)
        self._look()

    def is_up(self, name: str) -> bool:
        """Return whether the model of this name can be asked."""
        return not self.fault and name == self._name

    def submit(self, entries: list[OpenRequest]) -> None:
        for entry in entries:
            self._waiting.put(entry)

    def _look(self) -> None:
        """Check for a hang, on the loop, a few times per timeout, which is soon enough."""
        busy = self._busy
        if busy is not None and not self.fault and time.monotonic() - busy[0] > self._timeout_s:
            self._hangs(busy[1])
        self._timer = self._loop.call_later(self._timeout_s / 4, self._look)

    def _hangs(self, batch: list[OpenRequest]) -> None:
        """Answer its batch, the waiting and the later requests without it, until its call ends."""
        self.fault = "hangs"
        text = "%s hangs in a batch of %d"
        log.error(text, self._name, len(batch), extra=coded("model_hangs"))
        if self._proxy is not None:
            waiting = [*batch, *self._drained()]
            self._proxy.evaluated(waiting, [None] * len(waiting))

    def _drained(self) -> list[OpenRequest]:
        found: list[OpenRequest] = []
        with contextlib.suppress(queue.Empty):
            while (entry := self._waiting.get_nowait()) is not None:
                found.append(entry)
            self._waiting.put(None)
        return found

    def _end(self, batch: list[OpenRequest], outcomes: list[Any]) -> None:
        """Handle the end of an evaluation, on the loop."""
        if self.model is not None:
            self.fault = ""
        if self._proxy is not None:
            self._proxy.evaluated(batch, outcomes)

    def _take(self) -> list[OpenRequest] | None:
        """Return the waiting requests, at least one, without answered ones; None at the end."""
        batch: list[OpenRequest] = []
        entry = self._waiting.get()
        while entry is not None:
            if entry.client.connected:
                batch.append(entry)
            if len(batch) >= self._batch_max or self._waiting.empty():
                return batch
            entry = self._waiting.get()
        return None

    def _run(self) -> None:
        model = None
        try:
            model = self.model = self._load()
            self.fault = ""
        except ModelNotLoaded as error:
            self.fault = f"is missing: {error.text()}"
            log_not_loaded(error)
        self._call(self.settled.set)
        while (batch := self._take()) is not None:
            if batch:
                self._busy = time.monotonic(), batch
                outcomes = self._predict(model, batch)
                self._busy = None
                self._call(self._end, batch, outcomes)
        if model is not None:
            model.close()

    def _call(self, function: Callable[..., None], *arguments: Any) -> None:
        with contextlib.suppress(RuntimeError):  # the loop has ended
            self._loop.call_soon_threadsafe(function, *arguments)

    def _predict(self, model: Model | None, batch: list[OpenRequest]) -> list[Any]:
        if model is None:
            return [None] * len(batch)
        if model.takes == "lines":
            return evaluate(model, [encode_request(entry.request) for entry in batch])
        return evaluate(model, [entry.request.data for entry in batch])

    def stop(self) -> None:
        """Stop the thread; a model that is still busy after STOP_S is left behind."""
        if self._timer is not None:
            self._timer.cancel()
        self._waiting.put(None)
        self._thread.join(STOP_S)


class DirectProxy(Proxy):
    """Asks one model, whatever the schedule says; its SLA and default apply."""

    def __init__(self, *arguments: Any, caller: Caller, model: str, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._caller = caller
        self._model = model
        caller.attach(self)

    def ask_models(self, partition: int, entries: list[OpenRequest]) -> None:
        del partition
        if self._caller.model is not None and self._caller.fault:
            self.evaluated(entries, [None] * len(entries))
        else:
            self._caller.submit(entries)

    def evaluated(self, batch: list[OpenRequest], outcomes: list[Any]) -> None:
        """Answer the requests of a batch; called by the `Caller`, on the loop."""
        for entry, outcome in zip(batch, outcomes, strict=True):
            if self.in_flight.answered(entry.request.id) is None:
                continue  # the backstop was faster
            if isinstance(outcome, bytes):
                self.answer(entry, self._result(entry, outcome))
            else:
                self._answer_without(entry, outcome)

    def _answer_without(self, entry: OpenRequest, outcome: object) -> None:
        if self._caller.fault:
            self.answer_default(entry, "champion_down", f"{self._model} {self._caller.fault}")
        elif outcome is None:
            self.answer_default(entry, "champion_silent", f"{self._model} has given no answer")
        elif isinstance(outcome, ModelError) and outcome.cause == "input":
            is_judge = self._model in entry.schedule.input_judges
            code: ResultCode = "bad_input" if is_judge else "champion_bad_input"
            text = f"{self._model} says that the input is invalid: {outcome}"
            self.answer_default(entry, code, text)
        else:
            self.answer_default(entry, "champion_failed", f"{self._model} failed: {outcome}")

    def _result(self, entry: OpenRequest, text: bytes) -> Result:
        assert self._caller.model is not None
        first = entry.schedule.steps[0].accept[0]
        kind: Kind = "preferred" if first in (self._model, "*") else "fallback"
        waited_ns = self.now_ns() - entry.request.monotonic_ns
        return Result(
            entry.request.id,
            entry.request.reply_to,
            kind,
            msgspec.Raw(text),
            entry.schedule.label,
            round(waited_ns / 1e6, 3),
            self._model,
            self._caller.model.version,
            "" if kind == "preferred" else f"direct: only {self._model} is asked",
            "" if kind == "preferred" else "only_one_model",
            1 if kind == "preferred" else 0,
            cohort=entry.request.cohort,
            answered_by="proxy",
            propensity=entry.request.propensity,
        )
