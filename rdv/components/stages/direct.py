"""One model behind the door, called directly: how one starts."""

from __future__ import annotations

import asyncio
import logging
import os
import queue
import threading
from functools import partial
from typing import Any

import msgspec
import orjson
import uvloop

from rdv.components.places import Streams
from rdv.components.proxy.desk import Open
from rdv.components.proxy.main import ProxyProcess
from rdv.components.proxy.proxy import Proxy
from rdv.components.stages.memory import memory_streams
from rdv.config import Decision, ModelNotFound, load_decision
from rdv.messages import Kind, Result, encode_request
from rdv.models import Model, ModelError, open_model

log = logging.getLogger("rdv.stages")

STOP_S = 5.0


def serve_direct(directory: str, model: str) -> None:
    """See `run_direct`."""
    decision = load_decision(os.path.abspath(directory)).replace(partitions=1)
    config = decision.models.get(model)
    if config is None:
        raise ModelNotFound(directory, model, tuple(sorted(decision.models)))
    opened = open_model(decision.directory, model, **config.opening())
    with memory_streams(model) as streams:
        uvloop.run(_serve(decision, model, opened, config.batch_max, streams))


async def _serve(
    decision: Decision, name: str, model: Model, batch_max: int, streams: Streams
) -> None:
    caller = Caller(model, batch_max)
    process = ProxyProcess(decision, 0, streams, partial(DirectProxy, caller=caller, model=name))
    caller.start()
    try:
        await process.run()
    finally:
        caller.stop()


class Caller:
    """Calls the model in a thread of its own: with all that waits, up to `batch_max` rows."""

    def __init__(self, model: Model, batch_max: int) -> None:
        self.model = model
        self._batch_max = batch_max
        # Bounded by the proxy's desk: nothing is in here that is not on it, or was lately.
        self._waiting: queue.SimpleQueue[Open | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="rdv-model", daemon=True)
        self._loop = asyncio.get_running_loop()
        self._proxy: DirectProxy | None = None

    def attach(self, proxy: DirectProxy) -> None:
        self._proxy = proxy

    def start(self) -> None:
        self._thread.start()

    def submit(self, entries: list[Open]) -> None:
        for entry in entries:
            self._waiting.put(entry)

    def _take(self) -> list[Open] | None:
        """What waits, at least one; None at the end. Nobody waits for what was answered."""
        batch: list[Open] = []
        entry = self._waiting.get()
        while entry is not None:
            if entry.client.answer is None:
                batch.append(entry)
            if len(batch) >= self._batch_max or self._waiting.empty():
                return batch
            entry = self._waiting.get()
        return None

    def _run(self) -> None:
        while (batch := self._take()) is not None:
            if not batch:
                continue
            outcomes = self._predict(batch)
            if self._proxy is not None and not self._loop.is_closed():
                self._loop.call_soon_threadsafe(self._proxy.evaluated, batch, outcomes)

    def _predict(self, batch: list[Open]) -> list[Any]:
        takes = self.model.takes
        data = [bytes(entry.request.data) for entry in batch]
        if takes == "values":
            return self._predict_values(data)
        if takes == "data":
            return self.model.predict(data)
        return self.model.predict([encode_request(e.request) for e in batch])

    def _predict_values(self, data: list[bytes]) -> list[Any]:
        """What the proxy has taken can be read; what an enricher has made of it may not be."""
        try:
            rows = [orjson.loads(text) for text in data]
        except orjson.JSONDecodeError as error:
            if len(data) == 1:
                return [ModelError(f"the data is not JSON: {error}", "data")]
            return [self._predict_values([text])[0] for text in data]
        return self.model.predict(rows)

    def stop(self) -> None:
        self._waiting.put(None)
        self._thread.join(STOP_S)
        if not self._thread.is_alive():
            self.model.close()


class DirectProxy(Proxy):
    """A proxy that asks one model, whatever the schedule says; its SLA and default hold."""

    def __init__(self, *arguments: Any, caller: Caller, model: str, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._caller = caller
        self._model = model
        caller.attach(self)

    def ask_models(self, partition: int, entries: list[Open]) -> None:
        del partition
        self._caller.submit(entries)

    def evaluated(self, batch: list[Open], outcomes: list[Any]) -> None:
        """From the caller, on the loop."""
        for entry, outcome in zip(batch, outcomes, strict=True):
            if self.desk.answered(entry.request.id) is None:
                continue  # the backstop was faster
            if isinstance(outcome, bytes):
                self.answer(entry, self._result(entry, outcome))
            else:
                self._answer_without(entry, outcome)

    def _answer_without(self, entry: Open, outcome: object) -> None:
        if outcome is None:
            self.answer_default(entry, "champion_silent", f"{self._model} has nothing to say")
        else:
            self.answer_default(entry, "champion_failed", f"{self._model} failed: {outcome}")

    def _result(self, entry: Open, text: bytes) -> Result:
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
        )
