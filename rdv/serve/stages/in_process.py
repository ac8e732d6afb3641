"""Runs a decision in one process: proxy and server on one loop, a thread for each model."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from functools import partial

import msgspec
import uvloop

from rdv.clock import SYSTEM_CLOCK
from rdv.coded import coded
from rdv.decision import Decision, ModelConfig, load_decision
from rdv.decision.streams import Streams
from rdv.errors import RdvError
from rdv.rendezvous.topology import MODELS_TOPIC
from rdv.serve.feeds import Feed
from rdv.serve.process import Waker, start_thread, user_code_thread
from rdv.serve.proxy.main import ProxyProcess
from rdv.serve.server.main import ServerProcess
from rdv.serve.stages import START_WAIT_S, STOP_S, log_not_loaded, memory_streams
from rdv.serve.worker.main import WorkerProcess

log = logging.getLogger("rdv.stages")


def serve_in_process(directory: str) -> None:
    """Serve a decision; see `run_in_process`."""
    decision = load_decision(os.path.abspath(directory)).replace(partitions=1)
    with memory_streams(decision.name or "decision") as streams:
        uvloop.run(_serve(decision, streams))


async def _serve(decision: Decision, streams: Streams) -> None:
    proxy = ProxyProcess(decision, 0, streams)
    models = [
        ModelThread(decision, name, config, streams)
        for name, config in decision.models.items()
        if not config.retired
    ]
    for model in models:
        model.publish_state("down")  # until it is loaded, as in `rdv serve`
    server = LoopServer(decision, streams)
    for model in models:
        model.start()
    try:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(_settled(models), START_WAIT_S)
        await proxy.run()
    finally:
        for model in models:
            model.stop()
        server.close()


async def _settled(models: list[ModelThread]) -> None:
    for model in models:
        await model.settled.wait()


class ModelThread:
    """Runs one model in its own thread, which loads it, calls it and closes it.

    A model that cannot be loaded is missing, and the server does not wait for it.
    """

    def __init__(
        self, decision: Decision, name: str, config: ModelConfig, streams: Streams
    ) -> None:
        self.settled = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._waker = Waker()
        self._name = name
        self._scores = config.scores
        self._make = partial(
            WorkerProcess, decision, name, config, 0, self._waker, streams, self._hanging
        )
        self._control = streams.control.producer()
        self._thread = user_code_thread(f"rdv-model-{name}", self._run)

    def start(self) -> None:
        start_thread(self._thread)

    def _run(self) -> None:
        try:
            worker = self._make()
            self.publish_state("up")
            self._settle()
            worker.run()
        except RdvError as error:
            log_not_loaded(error)
        except Exception:
            log.exception("%s has ended", self._name, extra=coded("part_ended"))
        finally:
            self.publish_state("down")
            self._settle()

    def _hanging(self, is_hanging: bool) -> None:
        """Publish a hang, so that no request waits for the model, which keeps its thread."""
        if is_hanging:
            text = "%s hangs: it is down until its call ends"
            log.error(text, self._name, extra=coded("model_hangs"))
        self.publish_state("down" if is_hanging else "up")

    def _settle(self) -> None:
        with contextlib.suppress(RuntimeError):  # the loop has ended
            self._loop.call_soon_threadsafe(self.settled.set)

    def publish_state(self, state: str) -> None:
        """Publish the model's state, except a decoy's, to the server and `/readyz`."""
        if self._scores:
            line = {"model": self._name, "state": state, "time_ns": SYSTEM_CLOCK.wall_ns()}
            with contextlib.suppress(RdvError):
                self._control.send(MODELS_TOPIC, msgspec.json.encode(line) + b"\n")

    def stop(self) -> None:
        self._waker.stop()
        self._thread.join(STOP_S)


class LoopServer:
    """Runs a rendezvous server on the loop of its proxy. Loop's thread only."""

    def __init__(self, decision: Decision, streams: Streams) -> None:
        self._loop = asyncio.get_running_loop()
        self._waker = Waker()
        self._process = ServerProcess(
            decision.replace(server=type(decision.server)()), 0, self._waker, streams
        )
        self._server = self._process.server
        self._timer: asyncio.TimerHandle | None = None
        self._process.begin()
        for feed in self._server.feeds:
            self._loop.add_reader(feed.fd, self._notified, feed)
        self._loop.add_reader(self._waker.fileno(), self._edited)
        self._turn()

    def _notified(self, feed: Feed) -> None:
        feed.notified()
        self._turn()

    def _edited(self) -> None:
        self._waker.drain()
        self._turn()

    def _turn(self) -> None:
        """Run turns until nothing is left; new requests and scores come from other callbacks."""
        while self._process.turn():
            pass
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_later(self._server.due_s(), self._turn)

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        for feed in self._server.feeds:
            self._loop.remove_reader(feed.fd)
        self._loop.remove_reader(self._waker.fileno())
        self._process.end()
