"""All of a decision in one process: proxy and server on one loop, a thread for each model."""

from __future__ import annotations

import asyncio
import logging
import os
import threading

import uvloop

from rdv.components.feeds import Feed
from rdv.components.places import Streams
from rdv.components.proxy.main import ProxyProcess
from rdv.components.server.main import ServerProcess
from rdv.components.stages.memory import memory_streams
from rdv.components.stopping import Waker
from rdv.components.worker.main import WorkerProcess
from rdv.config import Decision, ModelConfig, load_decision

log = logging.getLogger("rdv.stages")

STOP_S = 5.0
"""A model that is still busy then is left behind with the process."""


def serve_in_process(directory: str) -> None:
    """See `run_in_process`."""
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
    server = LoopServer(decision, streams)
    for model in models:
        model.start()
    try:
        await proxy.run()
    finally:
        for model in models:
            model.stop()
        server.close()


class ModelThread:
    """One model with a thread of its own. Making it loads the model: raises ModelNotLoaded."""

    def __init__(
        self, decision: Decision, name: str, config: ModelConfig, streams: Streams
    ) -> None:
        self._waker = Waker()
        worker = WorkerProcess(decision, name, config, 0, self._waker, streams)
        self._thread = threading.Thread(target=worker.run, name=f"rdv-model-{name}", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._waker.stop()
        self._thread.join(STOP_S)


class LoopServer:
    """A rendezvous server on the loop of its proxy. Loop's thread only."""

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
            self._loop.add_reader(feed.fd, self._rung, feed)
        self._loop.add_reader(self._waker.fileno(), self._edited)
        self._turn()

    def _rung(self, feed: Feed) -> None:
        feed.rung()
        self._turn()

    def _edited(self) -> None:
        self._waker.drain()
        self._turn()

    def _turn(self) -> None:
        """Until nothing is left; requests and scores come from elsewhere, so that this ends."""
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
