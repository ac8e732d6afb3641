"""Implement `rdv model add`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

import typer

from rdv.commands.errors import InvalidOption
from rdv.commands.model.settings import Command, Name
from rdv.commands.options import Decision, Instances, Json, ModelFile, Quiet
from rdv.commands.output import Output

if TYPE_CHECKING:
    from rdv.decision import Decision as DecisionConfig

EXAMPLES = (
    "rdv model add fraud gbm --path models/gbm.py",
    "rdv model add fraud limit -- bash models/limit.sh",
    "rdv model add fraud archive --builtin decoy",
    "rdv model add fraud canary --builtin canary --path models/logit.py",
)


def add(
    directory: Decision,
    name: Name,
    command: Command = None,
    *,
    path: ModelFile = None,
    builtin: Annotated[
        Literal["decoy", "canary"] | None,
        typer.Option(
            help="decoy: archives what models see. canary: a stable reference, with --path.",
            show_default=False,
        ),
    ] = None,
    instances: Instances = 1,
    version: Annotated[
        str,
        typer.Option(
            metavar="TEXT", help="The model's version. Default: its own, else a hash of its file."
        ),
    ] = "",
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Declare a model in rdv.toml.

    A running decision starts it at once. The file keeps its comments and its order; nothing else in
    it is changed.
    """
    import msgspec

    from rdv.commands.model.settings import with_code
    from rdv.decision import ModelConfig, add_model, check_model_name, load_decision
    from rdv.decision.load import check_program

    check_model_name(name)
    if not (path or command or builtin == "decoy"):
        raise InvalidOption(name, "needs --path FILE, -- COMMAND… or --builtin decoy")
    decision = load_decision(directory, {})
    model = ModelConfig(builtin=builtin or "", instances=instances, version=version)
    model = with_code(model, decision, path, command)
    check_program(decision, model)
    added = add_model(directory, name, model)
    output = Output(as_json=as_json, quiet=quiet)
    if as_json:
        output.json({"model": name, **msgspec.to_builtins(model)})
    else:
        _report(added, name, output)


def _report(decision: DecisionConfig, name: str, output: Output) -> None:
    from rdv.decision.holder import holder_of
    from rdv.decision.schedules import read_schedule
    from rdv.errors import RdvError

    running = holder_of(decision.directory) is not None
    when = "the running decision starts it" if running else "it starts with the next rdv serve"
    output.text(f"added {name}: {when}")
    try:
        schedule = read_schedule(decision)
    except RdvError:
        return
    if not any(name in step.accept or "*" in step.accept for step in schedule.steps):
        output.note(f"{schedule.name} does not accept it: see {decision.schedule_path()}")
