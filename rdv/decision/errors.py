"""Errors of a decision's directory."""

from __future__ import annotations

import os

from rdv.errors import ConflictFault, InputFault, SystemFault, did_you_mean


class InvalidDecision(InputFault):
    """A setting is invalid. `where` is the file (or "environment"), `key` is dotted."""

    where: str
    key: str
    reason: str
    suggestion: str = ""

    _text = "{where}: {key}: {reason}"

    def hint(self) -> str:
        return f"Did you mean {self.suggestion!r}?" if self.suggestion else ""


class InvalidModelName(InputFault):
    """A model's name is invalid: it becomes a topic and a table of rdv.toml."""

    name: str
    reason: str

    _text = "{name!r} cannot be the name of a model: {reason}"
    _hint = "Use letters, digits, '.', '_' and '-'; start with a letter, a digit or '_'."


class DecisionNotFound(InputFault):
    """There is no decision in this directory; with `is_used` it contains other files.

    `near` are decisions in it, or the one that it belongs to.
    """

    directory: str
    reason: str = "it has no rdv.toml"
    is_used: bool = False
    near: tuple[str, ...] = ()

    _text = "no decision in {directory}: {reason}"

    def hint(self) -> str:
        if self.near:
            return f"Did you mean {' or '.join(self.near)}?"
        if self.is_used:
            return (
                "Make one in a new directory: rdv init NEW (--template blank for your own models)"
            )
        return f"Make one: rdv init {self.directory}"


class DirectoryNotEmpty(InputFault):
    """`rdv init` writes into an empty directory only; `names` are the files that are there."""

    directory: str
    names: tuple[str, ...]

    def text(self) -> str:
        shown = ", ".join(self.names[:5])
        more = f" and {len(self.names) - 5} more" if len(self.names) > 5 else ""  # noqa: PLR2004
        return f"{self.directory} is not empty: it has {shown}{more}"

    _hint = "Name a new directory: nothing is ever overwritten."


class UnknownTemplate(InputFault):
    """`rdv init` has no such template."""

    name: str
    known: tuple[str, ...]

    def text(self) -> str:
        return f"no template {self.name!r}; there are {', '.join(self.known)}"


class TemplateNeeds(InputFault):
    """A template's models need a library that is not installed."""

    template: str
    library: str
    extra: str

    _text = "the template {template!r} needs {library}, which is not installed"
    _hint = "pip install 'rdv[{extra}]', or take the template fraud, which needs no extra."


class TrainingFailed(SystemFault):
    """A template's models could not be trained; nothing was left behind."""

    template: str
    reason: str

    _text = "training the models of template {template!r} failed: {reason}"


class AssetsMissing(SystemFault):
    """The sample models or schedules that come with rdv are not where they were installed."""

    path: str

    _text = "the installation of rdv is not complete: {path} is missing"
    _hint = "Install rdv again."


class ProgramNotFound(InputFault):
    """The command of a model names a program that does not exist; `looked` is where."""

    program: str
    looked: str
    advice: str = ""

    _text = "there is no program {program!r}: looked {looked}"

    def hint(self) -> str:
        return self.advice


class ScheduleNotFound(InputFault):
    """The decision has no schedule of this name."""

    directory: str
    name: str
    known: tuple[str, ...]

    def text(self) -> str:
        there = ", ".join(self.known) if self.known else "none"
        return f"{self.directory} has no schedule {self.name!r}; there are: {there}"

    def hint(self) -> str:
        path = os.path.join(self.directory, "schedules", f"{self.name}.toml")
        near = did_you_mean(self.name, self.known)
        return f"A schedule is a file: {path}" if not self.known else near


class ModelNotFound(InputFault):
    """The decision declares no model of this name."""

    directory: str
    name: str
    known: tuple[str, ...]

    def text(self) -> str:
        there = ", ".join(self.known) if self.known else "none"
        return f"{self.directory} has no model {self.name!r}; there are: {there}"

    def hint(self) -> str:
        return did_you_mean(self.name, self.known)


class ModelExists(InputFault):
    """The decision declares a model of this name already."""

    directory: str
    name: str

    _text = "{directory} has a model {name!r} already"
    _hint = "Take another name, or remove that one: rdv model rm {directory} {name}"


class EditRefused(InputFault):
    """An edit of rdv.toml cannot be made without touching more than it should."""

    where: str
    key: str
    reason: str

    _text = "{where}: {key} cannot be changed here: {reason}"
    _hint = "Edit the file by hand; nothing was changed."


class DecisionBusy(ConflictFault):
    """Another process has been editing the decision for longer than the limit."""

    directory: str
    waited_ms: int

    _text = "another process edits {directory} (waited {waited_ms} ms)"


class OutcomeFileUnusable(InputFault):
    """A file of outcomes cannot be read."""

    path: str
    reason: str

    _text = "{path} {reason}"
    _hint = "The suffix says what a file is: .jsonl, .csv, .parquet; also .jsonl.gz and .csv.gz."


class NoRequestMatches(InputFault):
    """No id in a file of outcomes is that of a recorded request: nothing was recorded."""

    path: str
    count: int
    example: str

    _text = (
        "none of the {count:,} ids in {path} is that of a recorded request, for example {example!r}"
    )
    _hint = "Ids are in the answers (id) and in `rdv export`. --id-column names their column."
