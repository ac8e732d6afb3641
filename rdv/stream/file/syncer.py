"""The thread behind fsync = "interval": one per stream object, started by the first write."""

from __future__ import annotations

import threading
from weakref import WeakSet

from rdv.stream.file.forks import watch_forks
from rdv.stream.file.writer import PartitionWriter

MUTEX_WAIT_S = 0.05
"""A partition whose sender waits for a lock is left out of a round after so long, so that it does
not hold up the others."""


class Syncer:
    """Syncs its writers every `interval_ms` while there is something to sync. Thread-safe."""

    def __init__(self, interval_ms: int) -> None:
        self._interval_s = interval_ms / 1000
        self._mutex = threading.Lock()
        self._writers: WeakSet[PartitionWriter] = WeakSet()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        watch_forks(self)

    def after_fork(self) -> None:
        """See backend.Forkable: threads stay with the parent."""
        self._mutex = threading.Lock()
        self._stop = threading.Event()
        self._thread = None

    def watch(self, writer: PartitionWriter) -> None:
        with self._mutex:
            self._writers.add(writer)
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._run, name="rdv-sync", daemon=True)
                self._thread.start()

    def _run(self) -> None:
        while not self._stop.wait(self._interval_s):
            with self._mutex:
                writers = list(self._writers)
            for writer in writers:
                writer.sync(MUTEX_WAIT_S)
            del writers

    def close(self) -> None:
        self._stop.set()
        with self._mutex:
            thread = self._thread
        if thread is not None and thread.is_alive():
            thread.join()
