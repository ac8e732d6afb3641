"""Implement `rdv model ls`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rdv.commands.options import Decision, Json
from rdv.commands.output import Column, Output, number

if TYPE_CHECKING:
    from rdv.decision import Decision as DecisionConfig

EXAMPLES = ("rdv model ls fraud", "rdv model ls fraud --json | jq .version")
_COLUMNS = (
    Column("model"),
    Column("code"),
    Column("state"),
    number("instances", "live"),
    Column("version"),
    number("scored"),
    number("refused"),
    number("failed"),
    number("lag"),
)


def ls(directory: Decision, *, as_json: Json = False) -> None:
    """List the models, declared and running.

    Also models that run without being declared (rdv model run). Counts are since the start of the
    processes that run now.
    """
    from rdv.decision import load_decision

    decision = load_decision(directory)
    Output(as_json=as_json).table(_COLUMNS, rows(decision))


def rows(decision: DecisionConfig) -> list[dict[str, Any]]:
    """Return one row for each model."""
    from rdv.serve.observer import NeverServed, Observer

    try:
        with Observer(decision, window_s=0.001) as observer:
            live = {row["model"]: row for row in observer.look()["models"]}
    except NeverServed:
        live = {}
    found = []
    for name in [*decision.models, *(name for name in live if name not in decision.models)]:
        row = {k: v for k, v in live.get(name, {}).items() if k not in ("answers", "declared")}
        model = decision.models.get(name)
        code = "not in rdv.toml"
        if model is not None:
            code = model.made_of
            code += f" ({model.builtin})" if model.builtin and code != model.builtin else ""
        if model is not None and model.retired:
            row["state"] = "retired"
        found.append({"model": name, "code": code, "declared": model is not None, **row})
    return [{"state": "not running", "instances": 0, **row} for row in found]
