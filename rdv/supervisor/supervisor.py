"""Keeps the processes of a decision running until it is told to stop."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field

from rdv.clock import Clock
from rdv.errors import RdvError
from rdv.supervisor.child import Child
from rdv.supervisor.plan import STOP_ORDER, Part, changes
from rdv.supervisor.policy import RestartState, ended, started

STOP_GRACE_S = 10.0
READY_TIMEOUT_S = 60.0


@dataclass
class Running:
    """A part, its process if it has one now, and its history."""

    part: Part
    child: Child | None = None
    restarts: RestartState = field(default_factory=RestartState)
    is_ready: bool = False
    is_leaving: bool = False
    retry: asyncio.TimerHandle | None = None
    settled: asyncio.Event = field(default_factory=asyncio.Event)
    """Set once it has become ready, or has failed to."""


@dataclass(frozen=True)
class Voice:
    """How the supervisor is heard: the lines of its children, its own, and what models do."""

    child_line: Callable[[Part, str], None]
    own_line: Callable[[str], None]
    model_state: Callable[[str, bool], None]


class Supervisor:
    """Runs on one asyncio loop."""

    def __init__(self, wanted: Callable[[], list[Part]], voice: Voice, clock: Clock) -> None:
        self._wanted = wanted
        self._voice = voice
        self._clock = clock
        self._running: dict[str, Running] = {}
        self._stopping = asyncio.Event()
        self._changed = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Start everything, keep it running, stop it on `stop`."""
        for part in self._wanted():
            running = self._running[part.name] = Running(part)
            await self._start(running)
        while not self._stopping.is_set():
            await self._changed.wait()
            self._changed.clear()
            if not self._stopping.is_set():
                self._reconcile()
        await self._stop_all()

    def stop(self) -> None:
        """Ask for an orderly end; the second time, kill."""
        if self._stopping.is_set():
            for running in self._running.values():
                if running.child is not None:
                    running.child.kill()
        self._stopping.set()
        self._changed.set()

    def edited(self) -> None:
        """Something in the decision's directory has changed."""
        self._changed.set()

    def heard(self, name: str, pid: int, state: str) -> None:
        """A process says of itself that it is ready."""
        running = self._running.get(name)
        if running is None or running.child is None or running.child.pid != pid:
            return
        if state == "ready" and not running.is_ready:
            running.is_ready = True
            running.settled.set()
            self._voice.own_line(f"{name} is ready (process {pid})")
            self._tell_model(running.part)

    def all_ready(self) -> bool:
        return all(running.is_ready for running in self._running.values())

    def processes(self) -> dict[str, int]:
        """Process ids by part."""
        return {n: r.child.pid for n, r in self._running.items() if r.child is not None}

    async def _start(self, running: Running) -> None:
        running.retry = None
        running.is_ready = False
        part = running.part
        child = Child(
            part.arguments,
            line=lambda line: self._voice.child_line(part, line),
            ended=lambda code: self._ended(running, child, code),
        )
        running.child = child
        running.restarts = started(running.restarts, self._now_ms())
        try:
            await child.start()
        except OSError as error:
            self._voice.own_line(f"cannot start {part.name}: {error.strerror or error}")
            self._ended(running, child, -1)

    def _ended(self, running: Running, child: Child, code: int) -> None:
        if running.child is not child:
            return
        running.child = None
        running.is_ready = False
        running.settled.set()
        self._tell_model(running.part)
        if running.is_leaving or self._stopping.is_set():
            return
        running.restarts, delay_ms = ended(running.restarts, self._now_ms())
        after = "at once" if not delay_ms else f"in {delay_ms:.0f} ms"
        self._voice.own_line(f"{running.part.name} ended ({describe(code)}); started again {after}")
        loop = asyncio.get_running_loop()
        running.retry = loop.call_later(
            delay_ms / 1000, lambda: self._spawn(self._restart(running))
        )

    async def _restart(self, running: Running) -> None:
        if not self._stopping.is_set() and not running.is_leaving:
            await self._start(running)

    def _tell_model(self, part: Part) -> None:
        """A model lives as long as one of its processes is ready."""
        if part.model:
            is_up = any(r.is_ready for r in self._running.values() if r.part.model == part.model)
            self._voice.model_state(part.model, is_up)

    def _spawn(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _reconcile(self) -> None:
        try:
            wanted = self._wanted()
        except RdvError as error:
            self._voice.own_line(f"{error.text()}; nothing is changed")
            return
        todo = changes({name: r.part for name, r in self._running.items()}, wanted)
        for part in todo.start:
            running = self._running[part.name] = Running(part)
            self._spawn(self._start(running))
        for part in todo.stop:
            self._voice.own_line(f"{part.name} is not wanted any more")
            self._spawn(self._leave(self._running.pop(part.name)))
        for part in todo.replace:
            self._voice.own_line(f"{part.name} has changed: its successor is being started")
            self._spawn(self._replace(part))

    async def _replace(self, part: Part) -> None:
        """The new one first; the old one leaves when its successor is ready, or goes on if none."""
        old = self._running[part.name]
        new = Running(part)
        self._running[part.name] = new
        await self._start(new)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(new.settled.wait(), READY_TIMEOUT_S)
        if new.is_ready or self._stopping.is_set():
            await self._leave(old)
            return
        self._voice.own_line(f"{part.name}: the new version does not start; the old one stays")
        self._running[part.name] = old
        old.part = part
        await self._leave(new)

    async def _leave(self, running: Running) -> None:
        running.is_leaving = True
        if running.retry is not None:
            running.retry.cancel()
        if running.child is not None:
            await running.child.stop(STOP_GRACE_S)

    async def _stop_all(self) -> None:
        for role in STOP_ORDER:
            leaving = [r for r in self._running.values() if r.part.role == role]
            await asyncio.gather(*(self._leave(running) for running in leaving))
        for task in self._tasks:
            task.cancel()

    def _now_ms(self) -> float:
        return self._clock.monotonic_ns() / 1e6


def describe(code: int) -> str:
    """An exit code in words."""
    if code < 0:
        with contextlib.suppress(ValueError):
            return f"killed by {signal.Signals(-code).name}"
    return f"exit code {code}"
