"""Finds the code of a model that a call or a command line names: a file, a folder or a program."""

from __future__ import annotations

import os

import msgspec

from rdv.decision import Decision, ModelConfig, ModelNotFound, check_model_name
from rdv.decision.load import check_program
from rdv.decision.registry import is_registry_uri
from rdv.errors import NotUsable


def with_code(
    model: ModelConfig,
    decision: Decision,
    path: str | None,
    command: list[str] | None = None,
    what: str = "model",
) -> ModelConfig:
    """Return `model` with other code, if any is given; a path comes before a command.

    `what` is how errors call the path. Files are relative to the working directory, else to the
    decision's directory; in the settings they are written like the decision's other files. What a
    path of a registry names (models:/fraud@champion) is downloaded first. Raises NotUsable, and
    what `fetch` raises.
    """
    if path and is_registry_uri(path):
        from rdv.mlflow.fetch import fetch, fetched

        return msgspec.structs.replace(fetched(model, fetch(decision, path)[0]), command=[])
    if path:
        found = place_of(decision, path, is_path=True)
        if found is None:
            raise NotUsable(what, f"there is no file {looked_at(decision, path)}")
        need_kind(what, path, decision.path(found))
        return msgspec.structs.replace(model, path=found, command=[])
    if command:
        words = [place_of(decision, word) or word for word in command]
        return msgspec.structs.replace(model, path="", command=words)
    return model


def replayed_model(
    decision: Decision,
    path: str | None,
    name: str | None,
    command: list[str] | None = None,
    what: str = "model",
) -> tuple[str, ModelConfig]:
    """Return the name and the settings of a model that is to be replayed.

    The settings are those of the declared model `name`, with the code that is given. Without a name
    it is made from the file's. Raises ModelNotFound, NotUsable, ProgramNotFound.
    """
    name = check_model_name(name or _name_of(path or (command or ["model"])[0]))
    declared = decision.models.get(name)
    if declared is None and not (path or command):
        raise ModelNotFound(decision.directory, name, tuple(sorted(decision.models)))
    config = with_code(declared or ModelConfig(), decision, path, command, what)
    check_program(decision, config)
    if config.builtin == "decoy":
        raise NotUsable(name, "a decoy gives no answers that could be compared")
    return name, config


def _name_of(path: str) -> str:
    """Return a model's name that is like the name of its file or program."""
    stem = os.path.splitext(os.path.basename(path.rstrip(os.sep)))[0]
    return "".join(c if c.isalnum() or c in "-_" else "-" for c in stem).strip("-_") or "model"


def is_file(decision: Decision, path: str) -> bool:
    """Return whether there is such a file or folder, here or in the decision's directory."""
    return is_registry_uri(path) or place_of(decision, path, is_path=True) is not None


def need_kind(what: str, path: str, place: str) -> None:
    """Check that rdv can load the model file `path`, which is at `place`. Raises NotUsable."""
    from rdv.models.kinds import PYTHON_ENDING, UnknownKind, find_kind

    if path.endswith(PYTHON_ENDING) and os.path.isfile(place):
        return
    try:
        find_kind(place)
    except UnknownKind as error:
        hint = "A program of any other kind: -- COMMAND…"
        raise NotUsable(what, f"{path}: {error}", hint) from None


def looked_at(decision: Decision, path: str) -> str:
    """Return both places that were searched, as absolute paths."""
    places = (os.path.abspath(path), os.path.abspath(decision.path(path)))
    return ", nor ".join(dict.fromkeys(places))


def place_of(decision: Decision, path: str, *, is_path: bool = False) -> str | None:
    """Return the name of a file or folder for rdv.toml; None if there is no such file."""
    exists = os.path.exists if is_path else os.path.isfile
    if exists(path):
        full = os.path.abspath(path)
        root = os.path.abspath(decision.directory)
        return os.path.relpath(full, root) if os.path.commonpath((full, root)) == root else full
    return path if exists(decision.path(path)) else None
