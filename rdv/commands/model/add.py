"""Implement `rdv model add`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

import typer

from rdv.commands.errors import InvalidOption
from rdv.commands.model.settings import Command, Name, check_servers
from rdv.commands.options import Decision, Instances, Json, ModelFile, Protocol, Quiet, Servers
from rdv.commands.output import Output

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from rdv.decision import Decision as DecisionConfig
    from rdv.decision import ModelConfig

EXAMPLES = (
    "rdv model add fraud gbm --path models/gbm.py",
    "rdv model add fraud gbm --path models:/fraud@champion    # of an MLflow registry",
    "rdv model add fraud gbm --path models/gbm.txt --requirements models/gbm.requirements.txt",
    "rdv model add fraud limit -- bash models/limit.sh",
    "rdv model add fraud gbm --http http://models:8080 --protocol oip",
    "rdv model add fraud archive --builtin decoy",
    "rdv model add fraud canary --builtin canary --path models/logit.py",
)


def add(  # noqa: C901 - one branch for each kind of source
    directory: Decision,
    name: Name,
    command: Command = None,
    *,
    path: ModelFile = None,
    http: Servers = None,
    protocol: Protocol = None,
    builtin: Annotated[
        Literal["decoy", "canary"] | None,
        typer.Option(
            help="decoy: archives what models see. canary: a stable reference, with --path.",
            show_default=False,
        ),
    ] = None,
    instances: Instances = 1,
    python: Annotated[
        str,
        typer.Option(
            metavar="FILE",
            help="The interpreter with the libraries of the model file.",
            show_default=False,
        ),
    ] = "",
    requirements: Annotated[
        str,
        typer.Option(
            metavar="FILE",
            help="The list of its libraries, for an environment of its own.",
            show_default=False,
        ),
    ] = "",
    version: Annotated[
        str,
        typer.Option(
            metavar="TEXT", help="The model's version. Default: its own, else a hash of its file."
        ),
    ] = "",
    check: Annotated[
        bool, typer.Option("--check/--no-check", help="Load the model once before it is added.")
    ] = True,
    tracking_uri: Annotated[
        str,
        typer.Option(
            metavar="URL",
            help="The MLflow server of a path like models:/fraud@champion. Default: "
            "MLFLOW_TRACKING_URI, else tracking_uri of [mlflow].",
            show_default=False,
        ),
    ] = "",
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Check a model, and declare it in rdv.toml.

    The model is loaded once, in a process of its own, and evaluates one row and a hundred rows:
    recorded requests, or rows made from its columns. A file that cannot be loaded, or a server that
    does not answer, is not added. A running decision starts the model at once. rdv.toml keeps its
    comments and its order; nothing else in it is changed.

    A path like models:/fraud@champion or models:/fraud/3 names a version in an MLflow registry,
    which is downloaded now. rdv serve follows the alias: a new version runs beside the old one, and
    asks for a promotion.
    """
    import msgspec

    from rdv.commands.model.settings import with_code, with_interpreter, with_servers
    from rdv.decision import ModelConfig, ModelExists, add_model, check_model_name, load_decision
    from rdv.decision.load import check_program
    from rdv.decision.registry import in_folder, is_registry_uri

    check_model_name(name)
    if not (path or command or http or builtin == "decoy"):
        raise InvalidOption(name, "needs --path FILE, --http URL, -- COMMAND… or --builtin decoy")
    decision = load_decision(directory, {})
    model = ModelConfig(builtin=builtin or "", instances=instances, version=version)
    if name in decision.models:
        raise ModelExists(directory, name)
    source = _Source(path) if path and is_registry_uri(path) else None
    if source is not None:
        model = source.fetch(decision, name, model, command, tracking_uri)
    elif tracking_uri:
        raise InvalidOption("--tracking-uri", "goes with a --path like models:/fraud@champion")
    else:
        model = with_code(model, decision, path, command)
    own = in_folder(requirements, model.path)
    model = with_servers(with_interpreter(model, decision, python, own), http, protocol)
    check_program(decision, model)
    facts = None
    if check and model.http:
        check_servers(decision, name, model)
    if check and builtin != "decoy":
        from rdv.analysis.model_facts import model_facts

        facts = model_facts(decision, name, model)
    if source is not None:
        settings = msgspec.structs.replace(model, version=version)
        if is_registry_uri(requirements):
            settings = msgspec.structs.replace(settings, requirements=requirements)
        model = msgspec.structs.replace(settings, path=path)
        added = add_model(directory, name, model, source.declared(decision, name))
    else:
        added = add_model(directory, name, model)
    output = Output(as_json=as_json, quiet=quiet)
    if as_json:
        checked = {} if facts is None else {"check": msgspec.to_builtins(facts)}
        output.json({"model": name, **msgspec.to_builtins(model), **checked})
        return
    _report(added, name, output)
    if facts is not None:
        from rdv.commands.model.facts import show_facts

        show_facts(facts, output)


class _Source:
    """A version in an MLflow registry that a model is made of."""

    def __init__(self, uri: str) -> None:
        self._uri = uri

    def fetch(
        self,
        decision: DecisionConfig,
        name: str,
        model: ModelConfig,
        command: list[str] | None,
        tracking_uri: str,
    ) -> ModelConfig:
        """Download it; return the settings with which it can be loaded. Raises InvalidOption."""
        from rdv.decision.registry import parse_uri, second_name
        from rdv.mlflow.fetch import fetch, fetched

        if command:
            raise InvalidOption("--path", "does not go with a command: one of them is enough")
        if parse_uri(self._uri).alias and second_name(name) in decision.models:
            reason = f"{second_name(name)} exists, which would be its second version"
            raise InvalidOption(name, reason, "Choose another name.")
        self._found, self._address = fetch(decision, self._uri, tracking_uri)
        return fetched(model, self._found)

    def declared(self, decision: DecisionConfig, name: str) -> AbstractContextManager[None]:
        """Record what was downloaded, for the block in which rdv.toml begins to name the model."""
        from rdv.mlflow.fetch import declared

        return declared(decision, name, self._uri, self._found, self._address)


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
