"""The loop of a supervisor in the foreground handles signals, children, readiness and edits."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Callable, Collection
from typing import Protocol

from rdv.clock import SYSTEM_CLOCK
from rdv.commands.serving.voice import StderrVoice
from rdv.decision import Decision
from rdv.decision.files import watched_files
from rdv.decision.watching import Watch
from rdv.serve.supervisor.child import Child
from rdv.serve.supervisor.control import Control
from rdv.serve.supervisor.demand import Demand
from rdv.serve.supervisor.leftovers import clear_in_background, run_marker
from rdv.serve.supervisor.plan import Part, Role
from rdv.serve.supervisor.scaler import Scaler, Ties
from rdv.serve.supervisor.starter import Starter
from rdv.serve.supervisor.supervisor import ESSENTIAL, Launch, Supervisor
from rdv.status.lines import StatusLine
from rdv.system.orphans import Strangers, reap_orphans


class Judged(Protocol):
    """A judge of edits must know the models that run without being declared."""

    elsewhere: Callable[[], Collection[str]]
    absent: Callable[[str], None]


_STOPPING = {
    signal.SIGINT: "stopping (Ctrl-C again: at once)",
    signal.SIGTERM: "stopping",
    signal.SIGHUP: "stopping: the terminal is gone",
}


def supervise(
    decision: Callable[[], Decision],
    wanted: Callable[[], list[Part]],
    voice: StderrVoice,
    essential: frozenset[Role] = ESSENTIAL,
    scaler: Scaler | None = None,
    plan: Judged | None = None,
) -> None:
    """Run the parts until a signal stops them. `decision` returns the current one.

    Raises DoesNotStart, and what `wanted` raises the first time.
    """
    asyncio.run(_supervise(decision, wanted, voice, essential, scaler, plan))


async def _supervise(
    decision: Callable[[], Decision],
    wanted: Callable[[], list[Part]],
    voice: StderrVoice,
    essential: frozenset[Role],
    scaler: Scaler | None,
    plan: Judged | None,
) -> None:
    marker = run_marker(decision().directory)
    strangers = Strangers(marker)
    with Starter(marker) as starter:
        supervisor = Supervisor(wanted, voice, launch_with(starter), SYSTEM_CLOCK, essential)
        await _run(supervisor, starter, strangers, decision, voice, scaler, plan)


async def _run(
    supervisor: Supervisor,
    starter: Starter,
    strangers: Strangers,
    decision: Callable[[], Decision],
    voice: StderrVoice,
    scaler: Scaler | None,
    plan: Judged | None,
) -> None:
    known: set[str] = set()

    def heard(line: StatusLine) -> None:
        supervisor.heard(line.name, line.pid, line.state)
        if line.model and line.model not in known:  # a schedule may name it
            known.add(line.model)
            supervisor.edited()
        if scaler is not None:
            scaler.heard(line)

    def reap() -> None:
        supervisor.reap()
        known = starter.own_pids().union(supervisor.pids())
        strangers.end(known)
        reap_orphans(known)

    control = Control(decision(), SYSTEM_CLOCK, heard, voice.own_line)
    voice.control = control
    voice.own_pids = lambda: list(supervisor.pids())
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGCHLD, reap)
    for signum, text in _STOPPING.items():
        loop.add_signal_handler(signum, _stop, supervisor, voice, text)
    if plan is not None:
        plan.elsewhere = control.models_elsewhere
        plan.absent = lambda model: voice.model_state(model, is_up=False)
    edits = Watch(
        lambda: watched_files(decision()),
        lambda: _on(loop, supervisor.edited),
        lambda line: _on(loop, lambda: voice.own_line(line)),
    )
    edits.start()
    clear_in_background(decision().directory, voice.own_line)
    demand: Demand | None = None
    try:
        await starter.ready()
        if scaler is not None:
            demand = _scale(decision(), scaler, supervisor, control, voice)
        await supervisor.run()
    finally:
        edits.stop()
        if scaler is not None and demand is not None:
            scaler.close()
            demand.close()
        control.close()


def _scale(
    decision: Decision,
    scaler: Scaler,
    supervisor: Supervisor,
    control: Control,
    voice: StderrVoice,
) -> Demand:
    """Connect the scaler to the other parts, and start it."""
    demand = Demand(decision, scaler.rung, voice.own_line)
    ties = Ties(
        own_pids=supervisor.pids,
        changed=supervisor.edited,
        on_record=control.scaled,
        is_down=lambda model: voice.model_state(model, is_up=False),
        lag=demand.lag,
    )
    scaler.update(decision)
    scaler.start(ties, demand)
    return demand


def _on(loop: asyncio.AbstractEventLoop, call: Callable[[], None]) -> None:
    """Call a function on the loop from another thread; does nothing if the loop has ended."""
    with contextlib.suppress(RuntimeError):
        loop.call_soon_threadsafe(call)


def _stop(supervisor: Supervisor, voice: StderrVoice, text: str) -> None:
    voice.own_line(text)
    supervisor.stop()


def launch_with(starter: Starter) -> Launch:
    """Return the function by which the supervisor starts the process of a part. It raises
    OSError.
    """

    def launch(part: Part, line: Callable[[str], None], ended: Callable[[int], None]) -> Child:
        return Child(starter.start(part.arguments, part.env), line=line, ended=ended)

    return launch
