"""Run processes in virtual time, one event after another; the seed breaks ties."""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Callable
from random import Random

from greenlet import greenlet

MS = 1_000_000
START_NS = 10**12
SPINS_MAX = 200_000
"""The maximum number of switches. A run with more does not come to an end."""

ALIVE, DEAD = "alive", "dead"


class Killed(BaseException):
    """Simulate SIGKILL: the product's code does not catch it, and cleans nothing up."""


class Exited(BaseException):
    """End the process from within."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


class Runaway(Exception):
    """Report a run that does not come to an end."""


class Scheduler:
    """Decide what happens next. The processes are greenlets below this one."""

    def __init__(self, random: Random) -> None:
        self.random = random
        self.now_ns = START_NS
        self.current: Process | None = None
        self.hub = greenlet.getcurrent()
        self.switches = 0
        self._events: list[tuple[int, float, int, Callable[..., None], tuple]] = []
        self._count = 0

    @property
    def process(self) -> Process | None:
        """Return the process that runs now, also when one of its threads runs."""
        current = self.current
        return current if current is None or current.owner is None else current.owner

    def at(self, at_ns: int, call: Callable[..., None], *arguments) -> None:
        self._count += 1
        at_ns = max(at_ns, self.now_ns)
        heapq.heappush(self._events, (at_ns, self.random.random(), self._count, call, arguments))

    def after(self, delay_ns: int, call: Callable[..., None], *arguments) -> None:
        self.at(self.now_ns + delay_ns, call, *arguments)

    def run(self, until_ns: int, is_over: Callable[[], bool] = lambda: False) -> None:
        """Run everything up to `until_ns`, or until `is_over`."""
        events = self._events
        while events and events[0][0] <= until_ns and not is_over():
            self.now_ns, _, _, call, arguments = heapq.heappop(events)
            call(*arguments)
        self.now_ns = max(self.now_ns, min(until_ns, events[0][0] if events else until_ns))


class Process:
    """Simulate one process of the decision, with a pid, or one thread of it."""

    def __init__(self, scheduler: Scheduler, name: str, pid: int, host, main, ended) -> None:
        self.scheduler = scheduler
        self.name = name
        self.pid = pid
        self.host = host
        self.state = ALIVE
        self.started_ns = scheduler.now_ns
        self.ended_ns = 0
        self.code: int | None = None
        """The exit code; None while it runs."""
        self.error: Exception | None = None
        """The uncaught exception that ended it."""
        self.loop: asyncio.AbstractEventLoop | None = None
        self.stolen: list[tuple[int, int]] = []
        """When it did not run though it was ready: paused, preempted, woken late."""
        self.unrung: list[tuple[int, int]] = []
        """When it had to wait for its own timer, because a wake-up was lost."""
        self.parts: dict[str, object] = {}
        """What the oracle checks: the server, the worker, the proxy of this process."""
        self.at_step: Callable[[Process], None] = lambda process: None
        self._main = main
        self._ended = ended
        self._token = 0
        self._waits = self._is_woken = False
        self._paused_until_ns = 0
        self.owner: Process | None = None
        """The process of which this is a thread."""
        self.threads: list[Process] = []
        self.busy_until_ns = 0
        """The time until which it is held up."""
        self._greenlet = greenlet(self._run, scheduler.hub)

    def __repr__(self) -> str:
        return f"{self.name}[{self.pid}]"

    def start(self, delay_ns: int) -> None:
        self._token += 1
        self.scheduler.after(delay_ns, self._resume, self._token)

    def _run(self) -> None:
        code = 0
        try:
            self._main(self)
        except Killed:
            code = -9
        except Exited as error:
            code = error.code
        except Runaway:
            raise
        except Exception as error:
            code, self.error = 1, error
        self._die(code)

    def _die(self, code: int) -> None:
        if self.state == ALIVE:
            self.state = DEAD
            self.code = code
            self.ended_ns = self.scheduler.now_ns
            for thread in self.threads:
                if thread.state == ALIVE:
                    thread.state = DEAD
                    self.scheduler.after(0, thread.unwind)
            self._ended(self, code)

    # Called by the process itself

    def step(self) -> None:
        """Prepare for an operation that others can see: kill or hold up the process as planned."""
        if self.state is DEAD:
            raise Killed
        self.at_step(self)

    def sleep(self, duration_ns: int) -> None:
        """Sleep for this time; wake-ups do not end it."""
        self._switch_out(duration_ns)

    def hold_up(self, duration_ns: int) -> None:
        """Lose the processor for this time."""
        since_ns = self.scheduler.now_ns
        self.busy_until_ns = since_ns + duration_ns
        self._switch_out(duration_ns)
        self.stolen.append((since_ns, self.scheduler.now_ns))

    def wait(self, timeout_ns: int) -> None:
        """Wait until woken, at most for this time."""
        self._waits = True
        self._is_woken = False
        self._switch_out(timeout_ns)
        self._waits = False

    def _switch_out(self, duration_ns: int) -> None:
        scheduler = self.scheduler
        if self.state is DEAD:  # its code still unwinds
            raise Killed
        scheduler.switches += 1
        if scheduler.switches > SPINS_MAX:
            scheduler.switches = 0
            raise Runaway(f"{self} switches without an end")
        self._token += 1
        scheduler.after(duration_ns, self._resume, self._token)
        scheduler.hub.switch()
        if self.state is DEAD:
            raise Killed

    # Called by other processes

    def wake(self, delay_ns: int) -> None:
        if self._waits and not self._is_woken:
            self._is_woken = True
            self.scheduler.after(delay_ns, self._resume, self._token)

    def pause(self, duration_ns: int) -> None:
        """Simulate SIGSTOP, and SIGCONT after this time."""
        now_ns = self.scheduler.now_ns
        self._paused_until_ns = max(self._paused_until_ns, now_ns + duration_ns)
        self.busy_until_ns = self._paused_until_ns
        self.stolen.append((now_ns, self._paused_until_ns))

    def kill(self) -> None:
        if self.state is DEAD:
            return
        if self.scheduler.current is self:
            raise Killed
        self._die(-9)
        self.unwind()

    def unwind(self) -> None:
        """Leave the functions of a dead process."""
        if self._greenlet:
            self._enter(self._greenlet.throw, Killed)

    def _resume(self, token: int) -> None:
        if token != self._token or self.state is DEAD:
            return
        if self._paused_until_ns > self.scheduler.now_ns:
            self.scheduler.at(self._paused_until_ns, self._resume, token)
            return
        self._token += 1
        self._enter(self._greenlet.switch)

    def _enter(self, switch: Callable[..., object], *arguments) -> None:
        scheduler = self.scheduler
        before, scheduler.current = scheduler.current, self
        asyncio._set_running_loop(self.loop)
        switch(*arguments)
        asyncio._set_running_loop(None if before is None else before.loop)
        scheduler.current = before

    def was_held_up_ns(self, since_ns: int, until_ns: int) -> int:
        """Return for how much of this time it was held up."""
        return overlap_ns(self.stolen, since_ns, until_ns)

    def was_unrung_ns(self, since_ns: int, until_ns: int) -> int:
        """Return for how much of this time it may not have known that there was something to do."""
        return overlap_ns(self.unrung, since_ns, until_ns)


def overlap_ns(spans: list[tuple[int, int]], since_ns: int, until_ns: int) -> int:
    """Return how much of the time lies in the spans (an upper bound: spans may overlap)."""
    return sum(max(0, min(end, until_ns) - max(begin, since_ns)) for begin, end in spans)
