"""Implement `rdv model run`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rdv.commands.errors import InvalidOption
from rdv.commands.model.settings import Command, Name
from rdv.commands.options import Decision, Instances, ModelFile, Protocol, Servers

if TYPE_CHECKING:
    from rdv.decision import Decision as DecisionConfig
    from rdv.decision import ModelConfig
    from rdv.decision.remote import ProtocolName

EXAMPLES = (
    "rdv model run fraud gbm --path models/gbm.py",
    "rdv model run fraud mlp --instances 2",
    "rdv model run fraud gbm --http http://models:8080 --protocol oip",
    "rdv model run fraud limit -- bash models/limit.sh",
    "rdv model run fraud gbm -- docker run --rm -i registry.example/gbm:7",
)
_INSTANCES_MAX = 64


def run(
    directory: Decision,
    name: Name,
    command: Command = None,
    *,
    path: ModelFile = None,
    http: Servers = None,
    protocol: Protocol = None,
    instances: Instances = 1,
) -> None:
    """Run a model: it joins a running decision.

    This works at any time, in the foreground. A model that rdv.toml declares has its settings from
    there. Processes that end are restarted; a model whose file is edited is replaced. Ctrl-C: it
    leaves, and no request waits for it any more.
    """
    from rdv.commands.supervisor_log import SupervisorLog
    from rdv.decision import load_decision
    from rdv.decision.holder import holder_of
    from rdv.serve.joining import Workers, free_numbers
    from rdv.serve.supervisor.loop import supervise
    from rdv.serve.supervisor.plan import Role

    if not 1 <= instances <= _INSTANCES_MAX:
        raise InvalidOption("--instances", f"is between 1 and {_INSTANCES_MAX}")
    decision = load_decision(directory)
    model = settings(decision, name, path, command, http=http, protocol=protocol)
    workers = Workers(decision, name, model, free_numbers(decision, name, instances))
    log = SupervisorLog(
        [part.name for part in workers.wanted()],
        lambda missing: None if missing else log.own_line(_joined(directory, name)),
    )
    if holder_of(directory) is None:
        log.own_line(f"{directory} is not served now: {name} waits until it is")
    essential = frozenset[Role](("worker",))
    while supervise(lambda: workers.decision, workers.wanted, log, essential):
        pass
    log.own_line("stopped")


def settings(
    decision: DecisionConfig,
    name: str,
    path: str | None,
    command: list[str] | None,
    option: str = "--path",
    *,
    http: list[str] | None = None,
    protocol: ProtocolName | None = None,
) -> ModelConfig:
    """Return the settings of the declared model, with the code that is given.

    Raises ModelNotFound, ProgramNotFound.
    """
    from rdv.commands.model.settings import with_code, with_servers
    from rdv.decision import ModelConfig, ModelNotFound, check_model_name
    from rdv.decision.load import check_program

    declared = decision.models.get(check_model_name(name))
    if declared is None and not (path or command or http):
        raise ModelNotFound(decision.directory, name, tuple(sorted(decision.models)))
    model = with_code(declared or ModelConfig(), decision, path, command, option)
    model = with_servers(model, http, protocol)
    check_program(decision, model)
    return model


def _joined(directory: str, name: str) -> str:
    return f"{name} takes part: see rdv status {directory}; Ctrl-C to leave"
