"""A model that hangs is ended: its worker says so for every request in its hands, and exits."""

from __future__ import annotations

import threading
from collections.abc import Callable

from rdv.clock import Clock
from rdv.components.worker.backlog import Waiting


class Watchdog:
    """Watches one evaluation at a time from a thread of its own.

    `hanging` is called, once, with the batch that has taken longer than `timeout_ms`. Begin and
    end cost two stores: the thread looks a few times per timeout, which is soon enough.
    """

    def __init__(
        self, timeout_ms: float, clock: Clock, hanging: Callable[[list[Waiting]], None]
    ) -> None:
        self._timeout_ns = int(timeout_ms * 1e6)
        self._clock = clock
        self._hanging = hanging
        self._began: tuple[int, list[Waiting]] | None = None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="rdv-watchdog", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def begin(self, batch: list[Waiting]) -> None:
        self._began = (self._clock.monotonic_ns(), batch)

    def end(self) -> None:
        self._began = None

    def _run(self) -> None:
        while not self._stop.wait(self._timeout_ns / 4e9):
            began = self._began
            if began is not None and self._clock.monotonic_ns() - began[0] > self._timeout_ns:
                self._hanging(began[1])
                return

    def stop(self) -> None:
        self._stop.set()
