"""Keep processes running that no request waits for, such as the console. On the supervisor's loop.

They start when everything else runs, and never hold it up. One that ends is started again, at once
and then after growing delays; a stop kills them, as what they have saved is always whole.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import NamedTuple, Protocol

from rdv.clock import Clock
from rdv.decision import Decision
from rdv.decision.events import Event
from rdv.decision.traces import TRACES_ENVIRONMENT, are_exported, has_otlp
from rdv.serve.supervisor.happenings import Said, end_event, signal_name
from rdv.serve.supervisor.plan import RestartState, ended, started


class Companion(NamedTuple):
    """A process beside the others: its name in the log, and its command line."""

    name: str
    arguments: tuple[str, ...]
    """What follows `rdv component`."""
    env: tuple[str, ...] = ()
    """Variables that it gets besides the usual ones (`rdv.system.environment`)."""


class Process(Protocol):
    """The interface of a child."""

    @property
    def pid(self) -> int: ...
    def reap(self) -> None: ...
    def kill(self) -> None: ...


Launch = Callable[[Companion, Callable[[str], None], Callable[[int], None]], Process]
"""Starts a process; the functions get each line, and its exit code. Raises OSError."""


def companions(decision: Decision, environ: Mapping[str, str]) -> list[Companion]:
    """Return the processes that a decision has beside its others, with these variables set."""
    found = []
    if decision.console.enabled:
        port = decision.console.port_beside(decision.http.port)
        found.append(Companion("console", ("console", decision.directory, "--port", str(port))))
    if decision.notify.webhooks:
        words = ("notify", decision.directory)
        found.append(Companion("notify", words, decision.notify.env))
    if are_exported(decision.traces, environ) and has_otlp():
        found.append(Companion("traces", ("traces", decision.directory), TRACES_ENVIRONMENT))
    return found


@dataclass(eq=False)
class _Kept:
    companion: Companion
    child: Process | None = None
    restarts: RestartState = field(default_factory=RestartState)
    retry: asyncio.TimerHandle | None = None
    said: Said = field(default_factory=Said)


class Beside:
    """Keeps the companions of a decision running. `record` shows and records their ends."""

    def __init__(
        self,
        decision: Callable[[], Decision],
        launch: Launch,
        record: Callable[[Event], None],
        clock: Clock,
    ) -> None:
        self._decision = decision
        self._launch, self._record, self._clock = launch, record, clock
        self._kept: list[_Kept] = []
        self._is_stopped = False

    def start(self) -> None:
        """Start those that do not run yet."""
        if self._kept or self._is_stopped:
            return
        self._kept = [_Kept(one) for one in companions(self._decision(), os.environ)]
        for kept in self._kept:
            self._start(kept)

    def pids(self) -> set[int]:
        """Return the processes that run now."""
        return {kept.child.pid for kept in self._kept if kept.child is not None}

    def reap(self) -> None:
        """Handle the end of some child."""
        for kept in self._kept:
            if kept.child is not None:
                kept.child.reap()

    def stop(self) -> None:
        """Start no more, and end those that run."""
        self._is_stopped = True
        for kept in self._kept:
            if kept.retry is not None:
                kept.retry.cancel()
            if kept.child is not None:
                kept.child.kill()
                kept.child.reap()

    def _start(self, kept: _Kept) -> None:
        kept.retry = None
        kept.restarts = started(kept.restarts, self._now_ms())
        try:
            kept.child = self._launch(kept.companion, kept.said.add, partial(self._ended, kept))
        except OSError as error:
            self._again(kept, error.strerror or str(error))

    def _ended(self, kept: _Kept, code: int) -> None:
        pid = 0 if kept.child is None else kept.child.pid
        kept.child = None
        if not self._is_stopped:
            how = f"killed by {signal_name(code)}" if code < 0 else f"exit code {code}"
            self._again(kept, how, code, pid)

    def _again(self, kept: _Kept, how: str, code: int = 0, pid: int = 0) -> None:
        kept.restarts, delay_ms = ended(kept.restarts, self._now_ms())
        after = "at once" if not delay_ms else f"in {delay_ms / 1000:g} s"
        name = kept.companion.name
        text = f"{name} ended ({how}); started again {after}"
        said = kept.said.why(code)
        self._record(end_event(name, "part_ended", text, pid, code, said, delay_ms))
        loop = asyncio.get_running_loop()
        kept.retry = loop.call_later(delay_ms / 1000, self._start, kept)

    def _now_ms(self) -> float:
        return self._clock.monotonic_ns() / 1e6
