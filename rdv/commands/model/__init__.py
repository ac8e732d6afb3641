"""The group `rdv model …` has the commands for the models of a decision."""

from __future__ import annotations

from typing import ClassVar

from rdv.commands.lazy import Lazy, LazyGroup


class ModelGroup(LazyGroup):
    """List the group's commands, in the order of the help."""

    table: ClassVar[dict[str, Lazy]] = {
        "run": Lazy("rdv.commands.model.run:run", "Run a model: it joins a running decision."),
        "add": Lazy("rdv.commands.model.add:add", "Check a model, and declare it in rdv.toml."),
        "inspect": Lazy(
            "rdv.commands.model.inspect:inspect",
            "Load a model once: its columns, version, time and memory.",
        ),
        "ls": Lazy("rdv.commands.model.ls:ls", "List the models, declared and running."),
        "worth": Lazy(
            "rdv.commands.model.worth:worth",
            "Show what each model costs, and what would be lost without it.",
        ),
        "rm": Lazy("rdv.commands.model.rm:rm", "Remove a model from rdv.toml."),
    }
