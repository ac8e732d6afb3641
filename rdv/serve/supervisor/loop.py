"""The loop of a supervisor in the foreground handles signals, children, readiness and edits."""

from __future__ import annotations

import asyncio
import contextlib
import re
import signal
import sys
from collections.abc import Callable, Iterable
from functools import partial
from typing import Protocol

from rdv.clock import SYSTEM_CLOCK
from rdv.decision import Decision
from rdv.decision.events import Event, kind_of
from rdv.decision.files import watched_files
from rdv.decision.streams import prepare_streams
from rdv.decision.watching import Watch
from rdv.errors import RdvError
from rdv.serve.supervisor.beside import Beside, Companion
from rdv.serve.supervisor.child import Child
from rdv.serve.supervisor.control import Control
from rdv.serve.supervisor.demand import Demand
from rdv.serve.supervisor.digester import NAME as DIGESTS
from rdv.serve.supervisor.digester import Digester
from rdv.serve.supervisor.groups import ModelGroups
from rdv.serve.supervisor.happenings import Troubles, started_event, stopped_event
from rdv.serve.supervisor.in_force import InForce
from rdv.serve.supervisor.leftovers import clear_in_background, run_marker
from rdv.serve.supervisor.plan import Part, Role
from rdv.serve.supervisor.scaler import Callbacks
from rdv.serve.supervisor.starter import Starter
from rdv.serve.supervisor.stream_directories import StreamDirectories
from rdv.serve.supervisor.supervisor import ESSENTIAL, Supervisor, library_folders
from rdv.status.lines import StatusLine
from rdv.system.made_of import read_made_of
from rdv.system.orphans import ForeignChildren, reap_orphans

REMAKE_S = 1.0
"""When it is tried again to make a stream that could not be made, in seconds."""

_CODED = re.compile(r"(?P<text>.*) \[(?P<code>[a-z_]+)\]")
"""A line of a process that has a code (`rdv.coded`)."""

_STOPPING = {
    signal.SIGINT: "stopping (Ctrl-C again: at once)",
    signal.SIGTERM: "stopping",
    signal.SIGHUP: "stopping: the terminal is gone",
}


class Log(Protocol):
    """Where the supervisor's own lines and those of its processes are shown."""

    def child_line(self, name: str, line: str) -> None: ...
    def own_line(self, line: str, code: str = "", about: str = "", /) -> None: ...
    def all_settled(self, missing: list[str]) -> None: ...


class _Outputs:
    """The supervisor's outputs: lines go to the log, the states of models to `control`.

    `control` and `own_pids` are set before the supervisor runs.
    """

    control: Control
    own_pids: Callable[[], Iterable[int]]

    def __init__(self, log: Log, decision: Decision) -> None:
        self._log = log
        self._versions = {
            name: read_made_of(decision.directory, name).version for name in decision.models
        }
        """The versions that models were last seen in."""
        self._troubles = Troubles()
        self.settled: Callable[[], None] = lambda: None
        """Called once everything runs that requests need."""

    def all_settled(self, missing: list[str]) -> None:
        """Show that everything runs, except what is `missing`."""
        self._log.all_settled(missing)
        self.settled()

    def child_line(self, part: Part, line: str) -> None:
        self._log.child_line(part.name, line)
        self.control.disk_line(part.name, line)
        if part.role == "mlflow" and (found := _CODED.fullmatch(line)):
            self._record(found["code"], found["text"], part.name)

    def own_line(self, line: str, code: str = "", about: str = "") -> None:
        """Show a line; trouble, which has a code, is recorded in `control:events` as well."""
        self._log.own_line(line, code, about)
        if code:
            self._record(code, line, about)

    def own_event(self, event: Event) -> None:
        """Show an event in the log, and record it in `control:events`."""
        self._log.own_line(event.message, event.code, event.about)
        self.control.event(event)

    def _record(self, code: str, text: str, about: str) -> None:
        self.control.event(Event(kind=kind_of(code), code=code, message=text, about=about))

    def reported(self, line: StatusLine, *, is_new: bool) -> None:
        """Show that a model whose process is ready now runs in another version than before."""
        version = str(line.fields.get("version") or "")
        if is_new and line.model and version:
            before = self._versions.get(line.model)
            if before and before != version:
                text = f"{line.model}: version {before} → {version}"
                self.own_line(text, "model_version_changed", line.model)
            self._versions[line.model] = version
        for event in self._troubles.changes(line):
            self.control.event(event)

    def model_state(self, model: str, *, is_up: bool, code: str = "") -> None:
        self.control.model_state(model, is_up=is_up, own_pids=list(self.own_pids()), code=code)


def supervise(
    decision: Callable[[], Decision],
    wanted: Callable[[], list[Part]],
    log: Log,
    essential: frozenset[Role] = ESSENTIAL,
    in_force: InForce | None = None,
) -> bool:
    """Run the parts until a signal stops them. `decision` returns the current one.

    With `in_force`, edits are followed and models scaled. Returns True if everything has to be
    started again because the directory of a stream was deleted or replaced. Raises DoesNotStart,
    and what `wanted` raises the first time.
    """
    marker = run_marker(decision().directory)
    foreign = ForeignChildren(marker)  # made before any child is started

    async def run() -> bool:
        with Starter(marker) as starter:
            return await _run(starter, foreign, decision, wanted, log, essential, in_force)

    return asyncio.run(run())


async def _run(
    starter: Starter,
    foreign: ForeignChildren,
    decision: Callable[[], Decision],
    wanted: Callable[[], list[Part]],
    log: Log,
    essential: frozenset[Role],
    in_force: InForce | None,
) -> bool:
    known: set[str] = set()

    def reported(line: StatusLine) -> None:
        is_new = supervisor.reported(line.name, line.pid, line.state)
        outputs.reported(line, is_new=is_new)
        if line.model and line.model not in known:  # a schedule may name it
            known.add(line.model)
            supervisor.edited()
        if in_force is not None:
            in_force.scaler.reported(line)

    outputs = _Outputs(log, decision())
    groups = ModelGroups(outputs.own_line)
    launch = partial(_launch, starter, groups)
    supervisor = Supervisor(wanted, outputs, launch, SYSTEM_CLOCK, essential)
    outputs.control = control = Control(decision(), SYSTEM_CLOCK, reported, log.own_line)
    outputs.own_pids = supervisor.pids
    control.waiting = supervisor.waiting
    digester = _digester(starter, decision, log, outputs)
    beside = _beside(starter, decision, log, outputs)
    loop = asyncio.get_running_loop()
    beside_it = (digester, beside)
    loop.add_signal_handler(signal.SIGCHLD, _reap, starter, supervisor, beside_it, foreign, groups)
    signals = _stop_on_signals(loop, supervisor, log)
    if in_force is not None:
        _connect(in_force, outputs)
        outputs.settled = beside.start
        control.event(started_event(decision()))
    watch = _watch(loop, decision, supervisor, outputs, makes_streams=in_force is not None)
    watch.start()
    clear_in_background(decision().directory, log.own_line)
    demand: Demand | None = None
    try:
        await starter.ready()
        if in_force is not None:
            demand = _start_scaling(in_force, supervisor, control, outputs)
        digester.start()
        await supervisor.run()
    finally:
        watch.stop()
        digester.stop()
        beside.stop()
        _disconnect(in_force, demand)
        if in_force is not None:
            control.event(stopped_event(decision(), signals, sys.exception()))
        control.close()
    return supervisor.is_to_begin_again


def _reap(
    starter: Starter,
    supervisor: Supervisor,
    beside: tuple[Digester, Beside],
    foreign: ForeignChildren,
    groups: ModelGroups,
) -> None:
    """Handle the end of some child."""
    supervisor.reap()
    known = starter.own_pids().union(supervisor.pids())
    for one in beside:
        one.reap()
        known |= one.pids()
    foreign.end(known)
    reap_orphans(known)
    groups.sweep()


def _stop_on_signals(
    loop: asyncio.AbstractEventLoop, supervisor: Supervisor, log: Log
) -> list[str]:
    """Stop on each of these signals; return the list that gets the names of those received."""
    received: list[str] = []

    def stop(signum: signal.Signals, text: str) -> None:
        received.append(signum.name)
        log.own_line(text)
        supervisor.stop()

    for signum, text in _STOPPING.items():
        loop.add_signal_handler(signum, stop, signum, text)
    return received


def _connect(in_force: InForce, outputs: _Outputs) -> None:
    control = outputs.control
    in_force.elsewhere = control.models_elsewhere
    in_force.absent = partial(outputs.model_state, is_up=False, code="model_undeclared")
    in_force.show, in_force.record = outputs.own_line, control.event
    in_force.announce, in_force.author = outputs.own_event, control.authors.of


def _disconnect(in_force: InForce | None, demand: Demand | None) -> None:
    if in_force is not None and demand is not None:
        in_force.scaler.close()
        demand.close()


def _launch(
    starter: Starter,
    groups: ModelGroups,
    part: Part,
    line: Callable[[str], None],
    ended: Callable[[int], None],
) -> Child:
    """Start the process of a part, in a cgroup of its own if it has limits. Raises OSError."""
    group = groups.make(part)
    words = [word for path in (group.paths if group else ()) for word in ("--group", path)]

    def over(code: int) -> None:
        ended(groups.ended(group, code))

    try:
        make = partial(Child, line=line, ended=over)
        return starter.start((*part.arguments, *words), part.env, make)
    except OSError:
        groups.ended(group, 0)
        raise


def _digester(
    starter: Starter, decision: Callable[[], Decision], log: Log, outputs: _Outputs
) -> Digester:
    def launch(words: tuple[str, ...], ended: Callable[[int], None]) -> Child:
        show = partial(log.child_line, DIGESTS)
        return starter.start(words, (), partial(Child, line=show, ended=ended))

    return Digester(decision, launch, outputs.own_line)


def _beside(
    starter: Starter, decision: Callable[[], Decision], log: Log, outputs: _Outputs
) -> Beside:
    def launch(
        companion: Companion, line: Callable[[str], None], ended: Callable[[int], None]
    ) -> Child:
        def show(text: str) -> None:
            log.child_line(companion.name, text)
            line(text)

        make = partial(Child, line=show, ended=ended)
        return starter.start(companion.arguments, companion.env, make)

    return Beside(decision, launch, outputs.own_event, SYSTEM_CLOCK)


def _watch(
    loop: asyncio.AbstractEventLoop,
    decision: Callable[[], Decision],
    supervisor: Supervisor,
    outputs: _Outputs,
    *,
    makes_streams: bool,
) -> Watch:
    directories = StreamDirectories(decision())
    last = ""

    def edited() -> None:
        nonlocal last
        if not supervisor.is_to_begin_again and (replaced := directories.replaced()):
            try:
                if makes_streams:
                    prepare_streams(decision(), outputs.own_line)
            except RdvError as error:
                # What runs goes on with the marked default: that is better than no answer.
                if error.text() != last:
                    last = error.text()
                    outputs.own_line(last, error.code(), replaced[0])
                loop.call_later(REMAKE_S, edited)
            else:
                text = "deleted or replaced: all processes are started again"
                outputs.own_line(f"{', '.join(replaced)}: {text}", "stream_replaced", replaced[0])
                supervisor.begin_again()
        supervisor.edited()

    def files() -> list[str]:
        libraries = library_folders() if supervisor.waiting() else []
        return [*watched_files(decision()), *directories.paths, *libraries]

    return Watch(
        files,
        partial(_on, loop, edited),
        lambda line: _on(loop, outputs.own_line, line, "edits_late"),
    )


def _start_scaling(
    in_force: InForce, supervisor: Supervisor, control: Control, outputs: _Outputs
) -> Demand:
    scaler, decision = in_force.scaler, in_force.decision
    demand = Demand(decision, scaler.requested, outputs.own_line)
    pids, changed, record = supervisor.pids, supervisor.edited, control.scaled
    is_down = partial(outputs.model_state, is_up=False, code="asleep")
    scaler.update(decision)
    scaler.start(Callbacks(pids, changed, record, is_down, demand.lag), demand)
    return demand


def _on(loop: asyncio.AbstractEventLoop, call: Callable[..., None], *arguments: str) -> None:
    """Call a function on the loop from another thread; do nothing if the loop has ended."""
    with contextlib.suppress(RuntimeError):
        loop.call_soon_threadsafe(call, *arguments)
