"""Keeps the processes of a decision running until it is stopped."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

import msgspec

from rdv.clock import Clock
from rdv.decision.events import Event, kind_of
from rdv.errors import RdvError, SystemFault
from rdv.rendezvous.schedule import SLA_MS_MAX
from rdv.serve.process import HANGS, NEVER, OUT_OF_MEMORY
from rdv.serve.supervisor.happenings import Said, end_event
from rdv.serve.supervisor.plan import (
    STOP_ORDER,
    Part,
    RestartState,
    Role,
    became_ready,
    changes,
    ended,
    forgiven,
    is_hopeless,
    started,
)

REFUSES = 3
"""The exit code of a process that cannot use its configuration, its model's file or its command."""

STOP_GRACE_S = 15.0

PROXY_GRACE_S = SLA_MS_MAX / 1000 + 5.0
"""A proxy answers what is in flight before it ends, which takes up to the longest SLA."""

LAST_ANSWERS_S = 1.0
"""How long servers wait for the last answers of a model that leaves without a successor."""

START_WAIT_S = 5.0
"""Proxies start after this time at the latest, whichever processes are not ready by then."""

ESSENTIAL: frozenset[Role] = frozenset(("server", "proxy"))


class DoesNotStart(SystemFault):
    """An essential process has never come up."""

    name: str
    attempts: int

    def text(self) -> str:
        attempts = f"{self.attempts} attempts" if self.attempts > 1 else "its first attempt"
        return f"{self.name} has not come up in {attempts}: giving up"

    _hint = "Its last lines are above."


class Process(Protocol):
    """The interface of a child to the supervisor."""

    @property
    def pid(self) -> int: ...
    def reap(self) -> None: ...
    def kill(self) -> None: ...
    async def stop(self, grace_s: float) -> None: ...


Launch = Callable[[Part, Callable[[str], None], Callable[[int], None]], Process]
"""Makes the process of a part; the functions get each line, and its exit code."""


class Outputs(Protocol):
    """The interface for the supervisor's outputs."""

    def child_line(self, part: Part, line: str) -> None: ...
    def own_line(self, line: str, code: str = "", about: str = "", /) -> None: ...
    def own_event(self, event: Event, /) -> None:
        """Show the message of an event, and record the event."""

    def model_state(self, model: str, *, is_up: bool, code: str = "") -> None: ...
    def all_settled(self, missing: list[str]) -> None:
        """Report once that everything runs, except what is `missing`."""


@dataclass(eq=False)
class Running:
    """Holds a part, its process if it has one now, and its history."""

    part: Part
    child: Process | None = None
    restarts: RestartState = field(default_factory=RestartState)
    is_ready: bool = False
    is_leaving: bool = False
    is_trial: bool = False
    """It is a successor that has not come up yet: it has one attempt."""
    exit_code: int = 0
    """Of its last end."""
    said: Said = field(default_factory=Said)
    """Its newest lines."""
    has_ended: bool = False
    """Whether it has ended unasked since it was ready last."""
    retry: asyncio.TimerHandle | None = None
    waits: bool = False
    """Its model cannot be loaded: it is started again when its part or a library changes."""
    settled: asyncio.Event = field(default_factory=asyncio.Event)
    """Set once it has become ready, or has failed to."""


class _Refused(NamedTuple):
    """A process whose model could not be loaded, and what that depends on."""

    part: Part
    libraries: tuple[object, ...]
    pid: int

    def is_as_it_was(self, part: Part) -> bool:
        """Return whether another attempt would fail in the same way."""
        return part == self.part and self.libraries == library_signs()


def library_folders() -> list[str]:
    """Return the folders in which Python's libraries are installed."""
    return [path for path in sys.path if path.endswith(("site-packages", "dist-packages"))]


def library_signs() -> tuple[object, ...]:
    """Return what changes when a library is installed: a model may have waited for it."""
    signs: list[object] = []
    for path in library_folders():
        with contextlib.suppress(OSError):
            signs.append(os.stat(path).st_mtime_ns)
    return tuple(signs)


async def settled(group: list[Running]) -> None:
    """Wait until each of them has become ready, or has failed to."""
    for running in group:
        await running.settled.wait()


def describe(code: int) -> str:
    """Return a description of an exit code."""
    if code == HANGS:
        return "its model hung"
    if code == NEVER:
        return "its model cannot be loaded"
    if code == OUT_OF_MEMORY:
        return "its model needs more than memory_max"
    if code < 0:
        with contextlib.suppress(ValueError):
            return f"killed by {signal.Signals(-code).name}"
    return f"exit code {code}"


_MODEL_ENDS = {
    REFUSES: "model_not_loaded",
    NEVER: "model_not_loaded",
    HANGS: "model_hangs",
    OUT_OF_MEMORY: "model_out_of_memory",
}


def why_ended(part: Part, exit_code: int) -> str:
    """Return the code of a process's end."""
    if part.role == "worker":
        return _MODEL_ENDS.get(exit_code, "part_ended")
    return "part_ended"


def _end_event(running: Running, why: str, text: str, pid: int, retry_ms: float | None) -> Event:
    """Return the event of a process's end; None for `retry_ms` if it waits for an edit."""
    running.has_ended = True
    said = running.said.why(running.exit_code)
    event = end_event(running.part.name, why, text, pid, running.exit_code, said, retry_ms)
    return msgspec.structs.replace(event, model=running.part.model)


class Supervisor:
    """Runs on one asyncio loop. Gives up if an `essential` process never comes up."""

    def __init__(
        self,
        wanted: Callable[[], list[Part]],
        outputs: Outputs,
        launch: Launch,
        clock: Clock,
        essential: frozenset[Role] = ESSENTIAL,
    ) -> None:
        self._wanted = wanted
        self._essential = essential
        self._outputs = outputs
        self._launch = launch
        self._clock = clock
        self.is_to_begin_again = False
        self._running: dict[str, Running] = {}
        self._all: set[Running] = set()
        self._replacing: set[str] = set()
        self._refused: dict[str, _Refused] = {}
        """By name, the processes whose models cannot be loaded."""
        self._stopping = asyncio.Event()
        self._changed = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._failure: BaseException | None = None

    async def run(self) -> None:
        """Start everything, keep it running, stop it on `stop`.

        Raises DoesNotStart, after the rest has been stopped, and what the first `wanted` raises.
        """
        self._changed.clear()  # earlier changes are part of what is wanted now
        parts = self._wanted()
        for model in {part.model for part in parts if part.model}:
            self._outputs.model_state(model, is_up=False, code="not_ready_yet")
        self._spawn(self._open(parts))
        while not self._stopping.is_set():
            await self._changed.wait()
            self._changed.clear()
            if not self._stopping.is_set():
                self._reconcile()
        await self._stop_all()
        if self._failure is not None:
            raise self._failure

    async def _open(self, parts: list[Part]) -> None:
        """Start servers and workers; start proxies when these are ready, or have failed."""
        inner = [self._add(part) for part in parts if part.role not in ("proxy", "mlflow")]
        for part in parts:
            if part.role == "mlflow":  # no request waits for it
                self._add(part)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(settled(inner), START_WAIT_S)
        if self._stopping.is_set():
            return
        proxies = [self._add(part) for part in parts if part.role == "proxy"]
        await settled(proxies)
        if not self._stopping.is_set() and any(proxy.is_ready for proxy in proxies or inner):
            missing = [
                r.part.name
                for r in self._running.values()
                if not r.is_ready and r.part.role != "mlflow"
            ]
            self._outputs.all_settled(missing)

    def _add(self, part: Part, *, is_trial: bool = False) -> Running:
        running = self._running[part.name] = Running(part, is_trial=is_trial)
        self._all.add(running)
        self._start(running)
        return running

    def begin_again(self) -> None:
        """Stop in order, so that the caller can start everything again; see `is_to_begin_again`."""
        if not self._stopping.is_set():
            self.is_to_begin_again = True
            self._stopping.set()
            self._changed.set()

    def stop(self) -> None:
        """Stop in order; on the second call, kill. Nothing begins again after it."""
        self.is_to_begin_again = False
        if self._stopping.is_set():
            self._outputs.own_line("killing what is left")
            for running in self._all:
                if running.child is not None:
                    running.child.kill()
        self._stopping.set()
        self._changed.set()

    def edited(self) -> None:
        """Handle an edit: what is wanted may have changed."""
        self._changed.set()

    def reap(self) -> None:
        """Handle the end of some child."""
        for running in list(self._all):
            if running.child is not None:
                running.child.reap()

    def reported(self, name: str, pid: int, state: str) -> bool:
        """Handle a status line of a process; return whether it says first that it is ready."""
        for running in self._all:
            if running.child is None or running.child.pid != pid or running.part.name != name:
                continue
            if state == "ready" and not running.is_ready:
                running.is_ready = True
                running.restarts = became_ready(running.restarts)
                running.settled.set()
                self._ready_again(running, f"{name} is ready (process {pid})")
                self._publish_model(running.part)
                return True
        return False

    def _ready_again(self, running: Running, text: str) -> None:
        """Show that a process is ready; that is an event if it had ended before."""
        if not running.has_ended:
            self._outputs.own_line(text)
            return
        running.has_ended = False
        part, pid = running.part, 0 if running.child is None else running.child.pid
        self._outputs.own_event(
            Event(kind="process_back", message=text, about=part.name, model=part.model, pid=pid)
        )

    def pids(self) -> dict[int, str]:
        """Return the processes that run now, and their names."""
        return {r.child.pid: r.part.name for r in self._all if r.child is not None}

    def _start(self, running: Running) -> None:
        running.retry = None
        running.is_ready = running.waits = False
        part = running.part
        refused = self._refused.get(part.name)
        if refused is not None and refused.is_as_it_was(part):
            self._await_change(running, f"{part.name} is not started")
            return
        running.restarts = started(running.restarts, self._now_ms())
        try:
            running.child = self._launch(
                part,
                lambda line: self._line(running, line),
                lambda code: self._ended(running, describe(code), code),
            )
        except OSError as error:
            self._ended(running, error.strerror or str(error))

    def _line(self, running: Running, line: str) -> None:
        self._outputs.child_line(running.part, line)
        running.said.add(line)

    def _ended(self, running: Running, how: str, exit_code: int = 0) -> None:
        pid = 0 if running.child is None else running.child.pid
        if exit_code == NEVER and running.child is not None:
            name, pid = running.part.name, running.child.pid
            self._refused[name] = _Refused(running.part, library_signs(), pid)
        running.child = None
        running.is_ready = False
        running.exit_code = exit_code
        running.settled.set()
        why = why_ended(running.part, exit_code)
        self._publish_model(running.part, "not_wanted" if running.is_leaving else why)
        if running.is_leaving or running.is_trial or self._stopping.is_set():
            return
        running.restarts, delay_ms = ended(running.restarts, self._now_ms())
        name = running.part.name
        is_lost = is_hopeless(running.restarts, is_refusal=exit_code in (REFUSES, NEVER))
        if running.part.role in self._essential and is_lost:
            self._failure = DoesNotStart(name, running.restarts.failures)
            self.stop()
            return
        if exit_code == NEVER:
            self._await_change(running, f"{name} ended", pid)
            return
        after = "at once" if not delay_ms else f"in {delay_ms / 1000:g} s"
        text = f"{name} ended ({how}); started again {after}"
        self._outputs.own_event(_end_event(running, why, text, pid, delay_ms))
        if not delay_ms:
            self._start(running)
            return
        loop = asyncio.get_running_loop()
        running.retry = loop.call_later(delay_ms / 1000, self._start, running)

    def _await_change(self, running: Running, what: str, pid: int = 0) -> None:
        """Leave a process as it is: it cannot start until its model's file or settings change."""
        part = running.part
        text = f"{what} ({describe(NEVER)}); it waits for a change of {part.made_of or part.name}"
        self._outputs.own_event(_end_event(running, why_ended(part, NEVER), text, pid, None))
        running.waits = True
        running.settled.set()
        self._publish_model(running.part, "model_not_loaded")

    def waiting(self) -> set[int]:
        """Return the last processes of models that wait for a change."""
        names = {running.part.name for running in self._all if running.waits}
        return {refused.pid for name, refused in self._refused.items() if name in names}

    def _publish_model(self, part: Part, code: str = "not_wanted") -> None:
        """Publish a model's state: it is up while one of its processes is ready and not leaving.

        `code` is why it is down if it is.
        """
        if part.model:
            same = [r for r in self._all if r.part.model == part.model]
            is_up = any(r.is_ready and not r.is_leaving for r in same)
            self._outputs.model_state(part.model, is_up=is_up, code="" if is_up else code)

    def _spawn(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        """End everything after a bug in a task: a partly working supervisor is worse than none."""
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._failure = self._failure or error
            if not self._stopping.is_set():
                self.stop()

    def _reconcile(self) -> None:
        try:
            wanted = self._wanted()
        except RdvError as error:
            self._outputs.own_line(f"{error.text()}; nothing is changed", error.code())
            return
        self._retry_edited({part.name: part for part in wanted})
        now = {n: r.part for n, r in self._running.items() if n not in self._replacing}
        todo = changes(now, [part for part in wanted if part.name not in self._replacing])
        for part in todo.start:
            self._outputs.own_line(f"{part.name} is new")
            self._add(part)
        for part in todo.stop:
            self._outputs.own_line(f"{part.name} is not wanted any more")
            self._spawn(self._leave(self._running.pop(part.name)))
        for part in todo.replace:
            self._outputs.own_line(f"{part.name} has changed: its successor is being started")
            self._replacing.add(part.name)
            self._spawn(self._replace(part))

    def _retry_edited(self, wanted: Mapping[str, Part]) -> None:
        """Restart processes that wait for a restart at once, as the edit may have fixed them.

        An edit of the settings does so for all of them, one of a model's files for its workers.
        """
        running = self._running.values()
        is_new = any(
            r.part.role != "worker" and wanted.get(r.part.name, r.part) != r.part for r in running
        )
        if is_new:
            self._refused.clear()
        for one in list(running):
            part = wanted.get(one.part.name)
            if part is None or one.is_leaving:
                continue
            if part.role != "worker":
                is_edited, one.part = is_new, part
            else:
                is_edited = is_new or part != one.part or self._has_new_libraries(one)
            is_idle = one.retry is not None or one.waits
            if is_edited and is_idle and one.part.name not in self._replacing:
                one.part = part
                if one.retry is not None:
                    one.retry.cancel()
                one.restarts = forgiven(one.restarts)
                self._start(one)

    def _has_new_libraries(self, one: Running) -> bool:
        refused = self._refused.get(one.part.name) if one.waits else None
        return refused is not None and refused.libraries != library_signs()

    async def _replace(self, part: Part) -> None:
        """Start the successor; when it is ready the old process leaves, otherwise it goes on."""
        old = self._running[part.name]
        new = await self._try(part)
        if not new.is_ready and (new.exit_code < 0 or new.exit_code == HANGS):
            # Perhaps by its warm-up row, which is not evaluated again.
            self._all.discard(new)
            new = await self._try(part)
        if new.is_ready:
            new.is_trial = False
            await self._leave(old)
        elif not self._stopping.is_set():
            text = f"{part.name}: the new version does not start; the old one stays"
            found = _end_event(new, "successor_not_ready", text, 0, None)
            kind = kind_of(why_ended(part, new.exit_code)) if new.exit_code else "trouble"
            self._outputs.own_event(msgspec.structs.replace(found, kind=kind))
            self._running[part.name] = old
            # As it is now: only a further edit is another attempt.
            old.part = part
            await self._leave(new)
        self._replacing.discard(part.name)
        self._changed.set()

    async def _try(self, part: Part) -> Running:
        """Start a successor, and wait until it is ready, or has ended, or for some time."""
        new = self._add(part, is_trial=True)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(new.settled.wait(), part.ready_s)
        return new

    async def _leave(self, running: Running) -> None:
        running.is_leaving = True
        if running.retry is not None:
            running.retry.cancel()
        # Requests that it has read are waited for, but not for long; after that, servers are
        # notified that the model is down.
        loop = asyncio.get_running_loop()
        later = loop.call_later(LAST_ANSWERS_S, self._publish_model, running.part)
        try:
            if running.child is not None:
                is_proxy = running.part.role == "proxy"
                await running.child.stop(PROXY_GRACE_S if is_proxy else STOP_GRACE_S)
        finally:
            later.cancel()
        self._all.discard(running)
        self._publish_model(running.part)

    async def _stop_all(self) -> None:
        for role in STOP_ORDER:
            leaving = [running for running in self._all if running.part.role == role]
            await asyncio.gather(*(self._leave(running) for running in leaving))
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _now_ms(self) -> float:
        return self._clock.monotonic_ns() / 1e6
