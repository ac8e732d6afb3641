"""A `Syncer` is the thread of fsync = "interval": one per stream, from the first write on."""

from __future__ import annotations

import threading
from weakref import WeakSet

from rdv.stream.file.writer import PartitionWriter
from rdv.system.forks import watch_forks

MUTEX_WAIT_S = 0.05
"""The maximum wait for a sender that itself waits for a partition's lock, in seconds. Its partition
is then skipped in this round, so that it does not delay the others."""


class Syncer:
    """A `Syncer` syncs its writers every `interval_ms` if they have written. Thread-safe."""

    def __init__(self, interval_ms: int) -> None:
        self._interval_s = interval_ms / 1000
        self._mutex = threading.Lock()
        self._writers: WeakSet[PartitionWriter] = WeakSet()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        watch_forks(self)

    def after_fork(self) -> None:
        """Forget the thread, which stays with the parent; see `Forkable`."""
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
