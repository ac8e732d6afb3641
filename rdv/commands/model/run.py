"""Implement `rdv model run`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from rdv.commands.errors import InvalidOption
from rdv.commands.model.settings import Command, Name
from rdv.commands.options import Decision

if TYPE_CHECKING:
    from rdv.decision import Decision as DecisionConfig
    from rdv.decision import ModelConfig
    from rdv.serve.supervisor.plan import Part

EXAMPLES = (
    "rdv model run fraud gbm --path models/gbm.py",
    "rdv model run fraud mlp --instances 2",
    "rdv model run fraud limit -- bash models/limit.sh",
    "rdv model run fraud gbm -- docker run --rm -i registry.example/gbm:7",
)


def run(
    directory: Decision,
    name: Name,
    command: Command = None,
    *,
    path: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="A .py, .joblib or .pkl file.", show_default=False),
    ] = None,
    instances: Annotated[
        int, typer.Option(metavar="N", help="Processes that share the model's requests.")
    ] = 1,
) -> None:
    """Run a model: it joins a running decision.

    At any time, in the foreground. A model that rdv.toml declares has its settings from there.
    Processes that end are restarted; a model whose file is edited is replaced. Ctrl-C: it leaves,
    and no request waits for it any more.
    """
    from rdv.commands.serving.loop import supervise
    from rdv.commands.serving.voice import StderrVoice
    from rdv.decision import load_decision
    from rdv.serve.supervisor.lock import holder_of

    if not 1 <= instances <= _INSTANCES_MAX:
        raise InvalidOption("--instances", f"is between 1 and {_INSTANCES_MAX}")
    decision = load_decision(directory)
    model = settings(decision, name, path, command)
    plan = Workers(decision, name, model, free_numbers(decision, name, instances))
    voice = StderrVoice([part.name for part in plan.wanted()])
    voice.settled = lambda missing: None if missing else voice.own_line(_joined(directory, name))
    if holder_of(directory) is None:
        voice.own_line(f"{directory} is not served now: {name} waits until it is")
    supervise(lambda: plan.decision, plan.wanted, voice, frozenset(("worker",)))
    voice.own_line("stopped")


_INSTANCES_MAX = 64


def settings(
    decision: DecisionConfig,
    name: str,
    path: str | None,
    command: list[str] | None,
    option: str = "--path",
) -> ModelConfig:
    """Return the settings of the declared model, with the code that is given.

    Raises ModelNotFound, ProgramNotFound.
    """
    from rdv.commands.model.settings import check_program, with_code
    from rdv.decision import ModelConfig, ModelNotFound, check_model_name

    declared = decision.models.get(check_model_name(name))
    if declared is None and not (path or command):
        raise ModelNotFound(decision.directory, name, tuple(sorted(decision.models)))
    model = with_code(declared or ModelConfig(), decision, path, command, option)
    check_program(decision, model)
    return model


class Workers:
    """The workers of one model, for the supervisor."""

    def __init__(
        self, decision: DecisionConfig, name: str, model: ModelConfig, numbers: list[int]
    ) -> None:
        from rdv.decision.files import Stamps

        # The decision has only this model, so that only its files are watched.
        self.decision = decision.replace(models={name: model})
        self._name = name
        self._model = model
        self._numbers = numbers
        self._stamps = Stamps()

    def wanted(self) -> list[Part]:
        import os

        import msgspec

        from rdv.serve.supervisor.plan import Part

        config = msgspec.json.encode(self._model).decode()
        model = self._name if self._model.scores else ""
        stamp = self._stamps.of(self.decision)[self._name]
        directory = os.path.abspath(self.decision.directory)
        start = ("worker", directory, self._name, "--config", config, "--number")
        env = (*self.decision.env, *self._model.env)
        return [
            Part(f"{self._name}-{n}", "worker", (*start, str(n)), model, stamp, env)
            for n in self._numbers
        ]


def free_numbers(decision: DecisionConfig, name: str, count: int) -> list[int]:
    """Return the lowest numbers that no running worker of the model has."""
    from rdv.commands.errors import NeverServed
    from rdv.commands.looking.reading import Observer

    try:
        with Observer(decision, window_s=0.001) as observer:
            rows = observer.look()["processes"]
    except NeverServed:
        rows = []
    gone = ("stopped", "dead", "not running")
    taken = {row["name"] for row in rows if row["state"] not in gone}
    free = (n for n in range(len(taken) + count) if f"{name}-{n}" not in taken)
    return [number for number, _ in zip(free, range(count), strict=False)]


def _joined(directory: str, name: str) -> str:
    return f"{name} takes part: see rdv status {directory}; Ctrl-C to leave"
