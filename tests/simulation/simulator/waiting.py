"""Simulate waiting: descriptor numbers, with a `select` and an asyncio loop over them."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable

from simulator.scheduler import MS, Process, Runaway, Scheduler

SPINS_MAX = 300


class Descriptor:
    """A descriptor is readable or not; its owner is woken when it becomes readable."""

    def __init__(self, owner: Process) -> None:
        self.owner = owner
        self.is_readable = False


class Descriptors:
    """Hold the simulated descriptors by number, and how long a wake-up takes."""

    def __init__(self, scheduler: Scheduler, wake_ns: Callable[[], int]) -> None:
        self._scheduler = scheduler
        self._wake_ns = wake_ns
        self.by_number: dict[int, Descriptor] = {}
        self._spun_at_ns = self._spins = 0

    def make(self) -> int:
        assert self._scheduler.current is not None
        number = len(self.by_number) + 1000
        self.by_number[number] = Descriptor(self._scheduler.current)
        return number

    def signal(self, number: int) -> None:
        descriptor = self.by_number[number]
        descriptor.is_readable = True
        descriptor.owner.wake(self._wake_ns())

    def wake(self, process: Process) -> None:
        process.wake(self._wake_ns())

    def clear(self, number: int) -> None:
        self.by_number[number].is_readable = False

    def wait(self, numbers, timeout_ns: int) -> list[int]:
        """Return the readable descriptors, at once or within the time, as poll(2) does."""
        table, process = self.by_number, self._scheduler.current
        ready = [number for number in numbers if table[number].is_readable]
        if not ready and timeout_ns > 0:
            process.wait(timeout_ns)
            ready = [number for number in numbers if table[number].is_readable]
        else:
            self._note_spin(process)
        return ready

    def _note_spin(self, process: Process) -> None:
        """Raise Runaway for a process that never has to wait: it would use a whole processor."""
        if self._spun_at_ns != self._scheduler.now_ns:
            self._spun_at_ns, self._spins = self._scheduler.now_ns, 0
        self._spins += 1
        if self._spins > SPINS_MAX:
            self._spins = 0
            raise Runaway(f"{process} does not block: a descriptor stays readable")


class SimSelect:
    """Replace the module `select`."""

    POLLIN = 1

    def __init__(self, descriptors: Descriptors) -> None:
        self._descriptors = descriptors

    def poll(self) -> SimPoll:
        return SimPoll(self._descriptors)


class SimPoll:
    def __init__(self, descriptors: Descriptors) -> None:
        self._descriptors = descriptors
        self._numbers: list[int] = []

    def register(self, number: int, mask: int) -> None:
        self._numbers.append(number)

    def poll(self, timeout_ms: float) -> list[tuple[int, int]]:
        timeout_ns = math.ceil(timeout_ms) * MS  # poll(2) counts whole milliseconds
        return [(n, SimSelect.POLLIN) for n in self._descriptors.wait(self._numbers, timeout_ns)]


class SimWaker:
    """Replace `rdv.serve.process.Waker`, without a pipe."""

    def __init__(self, descriptors: Descriptors) -> None:
        self._descriptors = descriptors
        self._number = descriptors.make()
        self.stopping = False

    def fileno(self) -> int:
        return self._number

    def wake(self) -> None:
        self._descriptors.signal(self._number)

    def drain(self) -> None:
        self._descriptors.clear(self._number)

    def stop(self) -> None:
        self.stopping = True
        self.wake()


class SimLoop(asyncio.BaseEventLoop):
    """Run asyncio as it is, on virtual time. `inbox` holds calls from outside, as from a socket."""

    def __init__(self, process: Process, descriptors: Descriptors) -> None:
        super().__init__()
        self._process = process
        self._descriptors = descriptors
        self._selector = self
        self._readers: dict[int, asyncio.Handle] = {}
        self.inbox: list[Callable[[], object]] = []
        self.is_over = False
        process.loop = self
        asyncio._set_running_loop(self)

    def __del__(self) -> None:
        """Close nothing, as a killed process does."""

    def time(self) -> float:
        scheduler = self._process.scheduler
        return (scheduler.now_ns + self._process.host.monotonic_offset_ns) / 1e9

    def add_reader(self, number: int, callback, *arguments) -> None:
        self._readers[number] = asyncio.Handle(callback, arguments, self)

    def remove_reader(self, number: int) -> bool:
        return self._readers.pop(number, None) is not None

    def select(self, timeout: float | None) -> list[asyncio.Handle]:
        if self.inbox or self._ready:
            timeout = 0
        # As in uvloop and epoll, a timer is due at a whole millisecond, never too early.
        timeout_ns = 10**12 if timeout is None else math.ceil(timeout * 1000) * MS
        ready = self._descriptors.wait(self._readers, timeout_ns)
        calls = [asyncio.Handle(call, (), self) for call in self.inbox]
        self.inbox.clear()
        return [self._readers[number] for number in ready if number in self._readers] + calls

    def _process_events(self, events: list[asyncio.Handle]) -> None:
        for handle in events:
            self._ready.append(handle)

    def _write_to_self(self) -> None:
        """Wake the loop after another thread's `call_soon_threadsafe`."""
        self._descriptors.wake(self._process)

    def call_exception_handler(self, context) -> None:
        error = context.get("exception")
        if error is not None and self._process.state == "alive":
            raise error

    def tell(self, call: Callable[[], object], wake_ns: int) -> None:
        """Call a function in the loop from outside of the process."""
        self.inbox.append(call)
        self._process.wake(wake_ns)

    def run(self) -> None:
        while not self.is_over:
            self._run_once()
