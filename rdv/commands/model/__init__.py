"""The group `rdv model …` has the commands for the models of a decision."""

from __future__ import annotations

from typing import ClassVar

from rdv.commands.lazy import Lazy, LazyGroup


class ModelGroup(LazyGroup):
    """List the group's commands, in the order of the help."""

    table: ClassVar[dict[str, Lazy]] = {
        "run": Lazy("rdv.commands.model.run:run", "Run a model: it joins a running decision."),
        "add": Lazy("rdv.commands.model.add:add", "Declare a model in rdv.toml."),
        "ls": Lazy("rdv.commands.model.ls:ls", "List the models, declared and running."),
        "worth": Lazy(
            "rdv.commands.model.worth:worth",
            "Show what each model costs, and what would be lost without it.",
        ),
        "rm": Lazy("rdv.commands.model.rm:rm", "Remove a model from rdv.toml."),
    }
