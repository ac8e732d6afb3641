"""Implement `rdv serve`."""

from __future__ import annotations

import contextlib
import os
import shlex
import sys
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Annotated

import typer

from rdv.coded import with_code
from rdv.commands.errors import InvalidOption
from rdv.commands.options import Decision
from rdv.commands.terminal import paint

if TYPE_CHECKING:
    from rdv.commands.supervisor_log import SupervisorLog
    from rdv.decision import Decision as DecisionConfig

EXAMPLES = (
    "rdv serve fraud",
    "rdv serve fraud --port 8200",
    "RDV_HTTP_PROXIES=2 rdv serve fraud",
    "rdv serve fraud --direct mlp      # one model, without streams",
    "rdv serve fraud --in-process      # all of it in one process, streams in memory",
)
_EXAMPLE_BYTES_MAX = 400
_PORT_MAX = 65_535


def serve(
    directory: Decision,
    *,
    port: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            help="Port of the first proxy; each further proxy takes the next one.",
            show_default=False,
        ),
    ] = None,
    host: Annotated[
        str | None,
        typer.Option(metavar="ADDRESS", help="Address to listen on.", show_default=False),
    ] = None,
    direct: Annotated[
        str | None,
        typer.Option(
            metavar="MODEL", help="Call one model directly, without streams.", show_default=False
        ),
    ] = None,
    in_process: Annotated[
        bool,
        typer.Option("--in-process", help="Run everything in one process, with streams in memory."),
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
    from rdv.commands.component import log_to_stderr
    from rdv.commands.supervisor_log import SupervisorLog, log_to
    from rdv.decision import load_decision
    from rdv.serve.proxy.main import access_of
    from rdv.serve.stages.single import leave_environment, serve_stage
    from rdv.serve.supervisor.check import claim_ports
    from rdv.serve.supervisor.lock import ServeLock

    decision = load_decision(directory)
    access_of(decision)
    leave_environment(decision, direct)
    host, ports = decision.http.host, [decision.http.port]
    with ServeLock(directory, host, ports, decision.log.file_mode) as lock:
        claim_ports(directory, host, ports, _warn)
        if decision.logging.file or decision.logging.format == "json":
            log_to(SupervisorLog([], decision=decision))
        else:
            log_to_stderr()
        with lock.watched(_warn):
            serve_stage(decision, direct, _warn)


def _serve_all(directory: str) -> None:
    from rdv.commands.supervisor_log import SupervisorLog
    from rdv.decision import load_decision
    from rdv.decision.accepted import accept_first
    from rdv.decision.streams import prepare_streams
    from rdv.serve.proxy.main import access_of
    from rdv.serve.supervisor.check import check, claim_ports
    from rdv.serve.supervisor.in_force import InForce
    from rdv.serve.supervisor.lock import ServeLock
    from rdv.serve.supervisor.loop import supervise
    from rdv.serve.supervisor.plan import idle_instances, parts

    decision = load_decision(directory)
    access_of(decision)  # raises InvalidDecision if other machines can reach it, and must not
    ports = [decision.http.port + n for n in range(decision.http.proxies)]
    host, grpc_port = decision.http.host, decision.http.grpc_port
    with ServeLock(directory, host, ports, decision.log.file_mode, grpc_port) as lock:
        names = [part.name for part in parts(decision, {})]
        log = SupervisorLog(names, lambda missing: _show_started(decision, missing, log), decision)
        check(decision, log.own_line)
        for line in idle_instances(decision):
            log.own_line(f"{decision.file}: {line}", "instances_limited", decision.file)
        claim_ports(directory, host, [*ports, *filter(None, [grpc_port])], log.own_line)

        def run() -> bool:
            prepare_streams(decision, log.own_line)
            settings = InForce(accept_first(decision), log.own_line)
            return supervise(lambda: settings.decision, settings.wanted, log, in_force=settings)

        with lock.watched(log.own_line):
            while run():
                pass  # the directory of a stream was replaced
        log.own_line("stopped")


@contextlib.contextmanager
def _in_environment(settings: Mapping[str, object]) -> Iterator[None]:
    """Put options into the environment for a block, so that all processes started see them."""
    before = {name: os.environ.get(name) for name in settings}
    os.environ.update({name: str(value) for name, value in settings.items() if value is not None})
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value


def _warn(line: str, code: str = "", about: str = "") -> None:
    del about
    sys.stderr.write(with_code(line, code) + "\n")


def _show_started(decision: DecisionConfig, missing: list[str], log: SupervisorLog) -> None:
    """Print the address and the next commands, once everything runs."""
    from rdv.http.authority import host_port, reachable_host

    http = decision.http
    host = reachable_host(http.host)
    here = shlex.quote(decision.directory)
    url = f"http://{host_port(host, http.port)}"
    if log.is_json:
        log.own_line(f"{decision.name} answers at {url}/v1/decide")
        return
    example = shlex.quote(f'{{"data": {_example(decision)}}}')
    lines = [
        f"{decision.name} answers at {url}/v1/decide",
        f"  ask    curl -s {url}/v1/decide -d {example}",
        f"  look   rdv status {here} --watch",
        f"         rdv tail {shlex.quote(decision.stream_path('results'))} -f",
        "  stop   Ctrl-C",
    ]
    if decision.console.enabled:
        port = decision.console.port_beside(http.port)
        address = host_port(reachable_host(decision.console.host), port)
        lines.insert(-1, f"  watch  http://{address}/, and /metrics there")
    if missing:
        lines.insert(1, f"  without {', '.join(missing)}, which are not ready yet: see above")
    lines[0] = paint(lines[0], "bold", sys.stderr)
    sys.stderr.write("\n" + "\n".join(lines) + "\n\n")
    sys.stderr.flush()


def _example(decision: DecisionConfig) -> str:
    """Return the data of a sample request that fits on a line or two, else "{}"."""
    import orjson

    try:
        with open(decision.path("requests.jsonl"), "rb") as file:
            data = orjson.dumps(orjson.loads(file.readline(64 * 1024))["data"]).decode()
    except (OSError, ValueError, KeyError, TypeError):
        return "{}"
    return data if len(data) <= _EXAMPLE_BYTES_MAX else "{}"
