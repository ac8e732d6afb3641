"""Detects a model that hangs, so that its worker reports the batch and exits."""

from __future__ import annotations

import threading
from collections.abc import Callable

from rdv.clock import Clock
from rdv.components.worker.backlog import Waiting


class Watchdog:
    """Watches one evaluation at a time from its own thread.

    `hanging` is called with a batch that has taken longer than `timeout_ms`. The thread checks a
    few times per timeout, which is soon enough. Begin and end belong to the worker's thread; either
    `end` or the watchdog gets the batch, never both.
    """

    def __init__(
        self, timeout_ms: float, clock: Clock, hanging: Callable[[list[Waiting]], None]
    ) -> None:
        self._timeout_ns = int(timeout_ms * 1e6)
        self._clock = clock
        self._hanging = hanging
        self._mutex = threading.Lock()
        self._began_ns = 0
        self._batch: list[Waiting] | None = None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="rdv-watchdog", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def begin(self, batch: list[Waiting]) -> None:
        self._began_ns = self._clock.monotonic_ns()
        self._batch = batch

    def end(self) -> bool:
        """End the evaluation; return False when the watchdog has taken the batch."""
        with self._mutex:
            batch, self._batch = self._batch, None
        return batch is not None

    def look(self, now_ns: int) -> bool:
        """Return whether the present evaluation hangs; then its batch belongs to the watchdog."""
        with self._mutex:
            batch, began_ns = self._batch, self._began_ns
            if batch is None or now_ns - began_ns <= self._timeout_ns:
                return False
            self._batch = None
        self._hanging(batch)
        return True

    def _run(self) -> None:
        while not self._stop.wait(self._timeout_ns / 4e9):
            self.look(self._clock.monotonic_ns())

    def stop(self) -> None:
        self._stop.set()
