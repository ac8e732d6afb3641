"""Implement `rdv serve`."""

from __future__ import annotations

import contextlib
import os
import shlex
import sys
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

import typer

from rdv.commands.errors import InvalidOption
from rdv.commands.options import Decision
from rdv.commands.terminal import paint
from rdv.http.authority import host_port, reachable_host

if TYPE_CHECKING:
    from rdv.decision import Decision as DecisionConfig
    from rdv.decision.accepted import Accepted
    from rdv.serve.supervisor.plan import Part

EXAMPLES = (
    "rdv serve fraud",
    "rdv serve fraud --port 8200",
    "RDV_HTTP_PROXIES=2 rdv serve fraud",
    "rdv serve fraud --direct mlp      # one model behind the door, no streams",
    "rdv serve fraud --in-process      # all of it in one process, streams in memory",
)
_EXAMPLE_BYTES_MAX = 400
_PORT_MAX = 65_535

PROXIES_ENV = "env (for http.enrich)"
"""The key in the list of what takes effect at the next start: a running process keeps its
environment.
"""


def serve(
    directory: Decision,
    *,
    port: Annotated[
        int | None,
        typer.Option(
            metavar="N", help="Listen here; a second proxy takes the next one.", show_default=False
        ),
    ] = None,
    host: Annotated[
        str | None,
        typer.Option(metavar="ADDRESS", help="Listen on this address.", show_default=False),
    ] = None,
    direct: Annotated[
        str | None,
        typer.Option(
            metavar="MODEL", help="Call one model directly, without streams.", show_default=False
        ),
    ] = None,
    in_process: Annotated[
        bool, typer.Option("--in-process", help="All in one process, over streams in memory.")
    ] = False,
) -> None:
    """Run a decision until it is stopped.

    Starts the rendezvous servers, the models and the proxies, each as a process of its own,
    restarts processes that end, and replaces a model whose file is edited without losing a request.
    Edits of rdv.toml and of schedules take effect while requests flow. Ctrl-C or SIGTERM: no more
    requests are accepted, those in flight are answered, then it ends.

    Settings: options here, then RDV_* (RDV_HTTP_PORT=8200), then rdv.toml.
    """
    if direct is not None and in_process:
        raise InvalidOption("--direct", "does not go with --in-process")
    if port is not None and not 1 <= port <= _PORT_MAX:
        raise InvalidOption("--port", f"is 1 to {_PORT_MAX}")
    with _in_environment({"RDV_HTTP_PORT": port, "RDV_HTTP_HOST": host}):
        if direct is not None or in_process:
            _serve_stage(directory, direct)
        else:
            _serve_all(directory)


def _serve_stage(directory: str, direct: str | None) -> None:
    from rdv.commands.serving.check import check_access, claim_ports
    from rdv.commands.serving.stage import check_direct, leave_environment, serve_stage
    from rdv.decision import load_decision
    from rdv.serve.supervisor.lock import ServeLock

    decision = load_decision(directory)
    check_access(decision)
    check_direct(decision, direct)
    leave_environment(decision, direct)
    host, ports = decision.http.host, [decision.http.port]
    with ServeLock(directory, host, ports, decision.log.file_mode) as lock:
        claim_ports(directory, host, ports, _warn)
        with lock.watched(_warn):
            serve_stage(decision, direct, _warn)


def _serve_all(directory: str) -> None:
    from rdv.commands.serving.check import check, check_access, claim_ports
    from rdv.commands.serving.loop import supervise
    from rdv.commands.serving.voice import StderrVoice
    from rdv.decision import load_decision
    from rdv.decision.accepted import accept_first
    from rdv.decision.streams import prepare_streams
    from rdv.serve.supervisor.lock import ServeLock
    from rdv.serve.supervisor.plan import idle_instances, parts

    decision = load_decision(directory)
    check_access(decision)
    ports = [decision.http.port + n for n in range(decision.http.proxies)]
    with ServeLock(directory, decision.http.host, ports, decision.log.file_mode) as lock:
        voice = StderrVoice([part.name for part in parts(decision, {})])
        check(decision, voice.own_line)
        for line in idle_instances(decision):
            voice.own_line(f"{decision.file}: {line}")
        claim_ports(directory, decision.http.host, ports, voice.own_line)
        prepare_streams(decision, voice.own_line)
        plan = Plan(accept_first(decision), voice.own_line)
        voice.settled = lambda missing: _tell(plan.decision, missing)
        with lock.watched(voice.own_line):
            supervise(lambda: plan.decision, plan.wanted, voice, scaler=plan.scaler, plan=plan)
        voice.own_line("stopped")


@contextlib.contextmanager
def _in_environment(settings: Mapping[str, object]) -> Iterator[None]:
    """Put options into the environment for a block, where every process that is started sees
    them.
    """
    before = {name: os.environ.get(name) for name in settings}
    os.environ.update({name: str(value) for name, value in settings.items() if value is not None})
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value


def _warn(line: str) -> None:
    sys.stderr.write(line + "\n")


class Plan:
    """The settings in force, and the processes that they require. For the supervisor's loop
    only.
    """

    def __init__(self, accepted: Accepted, tell: Callable[[str], None]) -> None:
        from rdv.clock import SYSTEM_CLOCK
        from rdv.decision.files import Stamps
        from rdv.serve.supervisor.scaler import Scaler

        self.accepted = accepted
        self.elsewhere: Callable[[], Collection[str]] = tuple
        """Returns the models that run without being declared: `rdv model run`."""
        self.absent: Callable[[str], None] = lambda _: None
        """Called with models that a schedule names and that do not run, so that no request waits
        for them.
        """
        self.scaler = Scaler(lambda: self.decision, SYSTEM_CLOCK, tell)
        self._tell = tell
        self._stamps = Stamps()
        self._published: Accepted | None = None
        self._revision = 0
        self._place = ""
        self._parts: list[Part] = []
        self._env = set(accepted.decision.env)
        """The environment variables that the proxies were started with."""

    @property
    def decision(self) -> DecisionConfig:
        return self.accepted.decision

    def wanted(self) -> list[Part]:
        """Read the files, publish what is valid of them, report the rest, and return the parts to
        run.

        Raises SystemFaults if the settings cannot be published: they are not in force then.
        """
        from rdv.decision.accepted import undeclared_models
        from rdv.serve.supervisor.plan import parts

        if self._published is None:
            self._publish(self.accepted)
        elif not self._take_over():
            return self._parts
        self.scaler.update(self.decision)
        for model in undeclared_models(self.accepted):
            self.absent(model)
        stamps = self._stamps.of(self.decision)
        # What is started must not depend on the working directory, or on a symlink.
        if not self._place:
            self._place = os.path.realpath(self.decision.directory)
        placed = self.decision.replace(directory=self._place)
        self._parts = parts(placed, stamps, self.scaler.counts(), str(self._revision))
        return self._parts

    def _take_over(self) -> bool:
        """False when another directory, or none, is where ours was: nothing changes by that."""
        from rdv.decision.accepted import accept_edit, identity_of

        before, now = self.accepted, accept_edit(self.accepted, self.elsewhere())
        now = self._with_environment(now)
        is_ours = identity_of(now.decision.directory) == now.identity
        if not is_ours:
            self.accepted = now  # the directory now holds another decision
        elif now != self._published:
            self._publish(now)
        for fault in now.faults:
            if fault not in before.faults:
                self._tell(f"{fault}; nothing is changed by it")
        for key in now.pending:
            if key not in before.pending:
                self._tell(f"{key} has changed: that takes effect at the next start")
        self._warn_of_undeclared(before, now)
        if not now.is_same(before):
            self._revision += 1
            if changed := _changes(before, now):
                self._tell(f"in force now: {', '.join(changed)}")
        return is_ours

    def _with_environment(self, accepted: Accepted) -> Accepted:
        """Mark `env` as pending for proxies that run; models are replaced, so it applies to them at
        once.
        """
        decision = accepted.decision
        if set(decision.env) == self._env or not decision.http.enrich:
            return replace(accepted, pending=tuple(k for k in accepted.pending if k != PROXIES_ENV))
        if PROXIES_ENV in accepted.pending:
            return accepted
        return replace(accepted, pending=(*accepted.pending, PROXIES_ENV))

    def _publish(self, accepted: Accepted) -> None:
        from rdv.decision.accepted import publish

        publish(accepted)
        self.accepted = self._published = accepted

    def _warn_of_undeclared(self, before: Accepted, now: Accepted) -> None:
        """Warn of a model that was removed, or retired, though a schedule names it."""
        from rdv.decision.accepted import undeclared_models

        elsewhere = set(self.elsewhere())
        for model in sorted(undeclared_models(now) - undeclared_models(before) - elsewhere):
            if model in before.decision.models:
                self._tell(f"{model} is named by a schedule, but not started any more")


def _changes(before: Accepted, now: Accepted) -> list[str]:
    """Return the keys and schedules that have changed."""
    from rdv.decision.accepted import changed_keys

    changed = changed_keys(before.decision, now.decision)
    for name in sorted({**before.schedules, **now.schedules}):
        old, new = before.schedules.get(name), now.schedules.get(name)
        if (old and old.label) != (new and new.label):
            changed.append(f"schedule {new.label if new else f'{name} (gone)'}")
    if before.enricher != now.enricher and "http.enrich" not in changed:
        changed.append("the file of http.enrich")
    return changed


def _tell(decision: DecisionConfig, missing: list[str]) -> None:
    """Print the address and the next commands, once everything runs."""
    http = decision.http
    host = reachable_host(http.host)
    here = shlex.quote(decision.directory)
    url = f"http://{host_port(host, http.port)}"
    example = shlex.quote(f'{{"data": {_example(decision)}}}')
    lines = [
        f"{decision.name} answers at {url}/v1/decide",
        f"  ask    curl -s {url}/v1/decide -d {example}",
        f"  look   rdv status {here} --watch",
        f"         rdv tail {shlex.quote(decision.stream_path('results'))} -f",
        "  stop   Ctrl-C",
    ]
    if missing:
        lines.insert(1, f"  without {', '.join(missing)}, which did not come up yet: see above")
    lines[0] = paint(lines[0], "bold", sys.stderr)
    sys.stderr.write("\n" + "\n".join(lines) + "\n\n")
    sys.stderr.flush()


def _example(decision: DecisionConfig) -> str:
    """Return the data of a sample request, if there is one that fits on a line or two, else
    "{}".
    """
    import orjson

    try:
        with open(decision.path("requests.jsonl"), "rb") as file:
            data = orjson.dumps(orjson.loads(file.readline(64 * 1024))["data"]).decode()
    except (OSError, ValueError, KeyError, TypeError):
        return "{}"
    return data if len(data) <= _EXAMPLE_BYTES_MAX else "{}"
