"""Replace `threading` for what sends to the log: threads are greenlets of their process."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from simulator.scheduler import Process


class SimThreading:
    """Provide what `rdv.serve.outbox` needs of the module `threading`."""

    def __init__(self, world) -> None:
        self._world = world

    def Thread(self, target: Callable[..., None], args: tuple, name: str, daemon: bool):  # noqa: N802
        del daemon
        return SimThread(self._world, target, args, name)

    def Condition(self) -> SimCondition:  # noqa: N802
        return SimCondition(self._world)


class SimThread:
    """Run beside a process, and end with it."""

    def __init__(self, world, target: Callable[..., None], args: tuple, name: str) -> None:
        scheduler, self._world = world.scheduler, world
        owner = scheduler.current
        assert owner is not None
        self._thread = thread = Process(
            scheduler, f"{owner.name} {name}", owner.pid, owner.host,
            lambda process: target(*args), self._ended,
        )  # fmt: skip
        thread.owner = owner
        owner.threads.append(thread)

    def start(self) -> None:
        self._thread.start(self._world.wake_ns())

    def _ended(self, thread: Process, code: int) -> None:
        del code
        self._world.oracle.expect(thread.error is None, "crash", "%s: %r", thread, thread.error)


class SimCondition:
    """Replace a condition. It needs no lock: no thread is preempted while it would hold one."""

    def __init__(self, world) -> None:
        self._world = world
        self._waiting: list[Process] = []

    def __enter__(self) -> SimCondition:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def notify_all(self) -> None:
        for process in self._waiting:
            process.wake(self._world.wake_ns())

    def wait_for(self, predicate: Callable[[], Any], timeout_s: float) -> Any:
        scheduler = self._world.scheduler
        process, until_ns = scheduler.current, scheduler.now_ns + int(timeout_s * 1e9)
        self._waiting.append(process)
        try:
            while not (result := predicate()) and scheduler.now_ns < until_ns:
                process.wait(until_ns - scheduler.now_ns)
        finally:
            self._waiting.remove(process)
        return result
