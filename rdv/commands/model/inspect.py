"""Implement `rdv model inspect`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from rdv.commands.options import Decision, Json
from rdv.commands.output import Output
from rdv.errors import NotUsable

if TYPE_CHECKING:
    from rdv.decision import Decision as DecisionConfig
    from rdv.decision import ModelConfig

EXAMPLES = (
    "rdv model inspect fraud gbm",
    "rdv model inspect fraud models/gbm.txt",
    "rdv model inspect fraud gbm --schema >> fraud/rdv.toml",
)


def inspect(
    directory: Decision,
    name: Annotated[
        str, typer.Argument(metavar="NAME|FILE", help="A declared model, or the file of one.")
    ],
    *,
    schema: Annotated[
        bool, typer.Option("--schema", help="Print the [schema] section for rdv.toml only.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Load a model once: its columns, version, time and memory.

    Shows its kind and version, the columns that it knows, how long one row and a hundred rows take
    (recorded requests, or rows made from its columns), and how much memory it needs. Nothing is
    recorded.
    """
    import msgspec

    from rdv.analysis.model_facts import model_facts
    from rdv.commands.model.facts import schema_lines, show_facts
    from rdv.decision import load_decision

    decision = load_decision(directory)
    facts = model_facts(decision, name, _settings(decision, name))
    output = Output(as_json=as_json)
    if schema and not facts.columns:
        advice = "Write [schema] by hand, or from a JSON Schema."
        raise NotUsable(name, "nothing is known about its columns", advice)
    if as_json:
        output.json({"model": name, **msgspec.to_builtins(facts)})
    elif schema:
        output.text("\n".join(schema_lines(facts.columns)))
    else:
        output.text(name)
        show_facts(facts, output)


def _settings(decision: DecisionConfig, name: str) -> ModelConfig:
    """Return the settings of a declared model, or of a file. Raises ModelNotFound, NotUsable."""
    from rdv.api.model_code import is_file, with_code
    from rdv.decision import ModelConfig, ModelNotFound

    declared = decision.models.get(name)
    if declared is None and not is_file(decision, name):
        raise ModelNotFound(decision.directory, name, tuple(sorted(decision.models)))
    if declared is None:
        return with_code(ModelConfig(), decision, name, None, "NAME|FILE")
    if declared.builtin == "decoy":
        raise NotUsable(name, "a decoy only archives what it gets: there is nothing to inspect")
    return declared
