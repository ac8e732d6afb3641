"""Defines a part of a decision with its present process, and the supervisor's interfaces."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from rdv.supervisor.plan import Part
from rdv.supervisor.policy import RestartState


class Process(Protocol):
    """The interface of a child to the supervisor."""

    @property
    def pid(self) -> int: ...
    def reap(self) -> None: ...
    def kill(self) -> None: ...
    async def stop(self, grace_s: float) -> None: ...


Launch = Callable[[Part, Callable[[str], None], Callable[[int], None]], Process]
"""Makes the process of a part; calls the first function with each line, the second with its exit
code.
"""


class Voice(Protocol):
    """The interface for the supervisor's outputs."""

    def child_line(self, part: Part, line: str) -> None: ...
    def own_line(self, line: str) -> None: ...
    def model_state(self, model: str, *, is_up: bool) -> None: ...
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
    retry: asyncio.TimerHandle | None = None
    settled: asyncio.Event = field(default_factory=asyncio.Event)
    """Set once it has become ready, or has failed to."""


async def settled(group: list[Running]) -> None:
    """Wait until each of them has become ready, or has failed to."""
    for running in group:
        await running.settled.wait()


HANGS = 75
"""The exit code of a worker whose model hangs (EX_TEMPFAIL)."""


REFUSES = 3
"""The exit code of a process that cannot use its configuration, its model's file or its command."""


def describe(code: int) -> str:
    """Return a description of an exit code."""
    if code == HANGS:
        return "its model hung"
    if code < 0:
        with contextlib.suppress(ValueError):
            return f"killed by {signal.Signals(-code).name}"
    return f"exit code {code}"
