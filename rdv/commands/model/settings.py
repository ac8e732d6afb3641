"""Turn the options of a command line into the settings of a model."""

from __future__ import annotations

import os
from typing import Annotated

import msgspec
import typer

from rdv.commands.errors import InvalidOption
from rdv.decision import Decision, ModelConfig
from rdv.decision.registry import is_registry_uri
from rdv.decision.remote import ProtocolName
from rdv.errors import NotUsable

Name = Annotated[str, typer.Argument(metavar="NAME", help="The model's name.")]
Command = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="-- COMMAND…",
        help='A program that reads {"id": 1, "data": …} on stdin, a line each, and answers '
        '{"id": 1, "result": …} on stdout.',
        show_default=False,
    ),
]


def with_code(
    model: ModelConfig,
    decision: Decision,
    path: str | None,
    command: list[str] | None,
    option: str = "--path",
) -> ModelConfig:
    """Return `model` with other code, if any is given. Raises InvalidOption, NotUsable.

    `option` is the name of the path's option. Files are relative to the working directory, else to
    the decision's directory; in the settings they are written like the decision's other files. What
    a path of a registry names (models:/fraud@champion) is downloaded first. Raises what `fetch`
    raises.
    """
    if path and command:
        raise InvalidOption(option, "does not go with a command: one of them is enough")
    if path and is_registry_uri(path):
        from rdv.mlflow.fetch import fetch, fetched

        return msgspec.structs.replace(fetched(model, fetch(decision, path)[0]), command=[])
    if path:
        found = _place(decision, path, is_path=True)
        if found is None:
            raise NotUsable(option, f"there is no file {_looked_at(decision, path)}")
        need_kind(option, path, decision.path(found))
        return msgspec.structs.replace(model, path=found, command=[])
    if command:
        words = [_place(decision, word) or word for word in command]
        return msgspec.structs.replace(model, path="", command=words)
    return model


def with_interpreter(
    model: ModelConfig, decision: Decision, python: str, requirements: str
) -> ModelConfig:
    """Return `model` with an interpreter of its own, if one is given.

    Raises InvalidOption, NotUsable.
    """
    if (python or requirements) and not model.path:
        option = "--python" if python else "--requirements"
        raise InvalidOption(option, "goes with --path: a command has its own interpreter")
    if requirements:
        found = _place(decision, requirements)
        if found is None:
            reason = f"there is no file {_looked_at(decision, requirements)}"
            raise NotUsable("--requirements", reason)
        requirements = found
    if python:
        python = _place(decision, python) or python
    return msgspec.structs.replace(model, python=python, requirements=requirements)


def with_servers(
    model: ModelConfig, http: list[str] | None, protocol: ProtocolName | None
) -> ModelConfig:
    """Return `model` with other servers, if any are given. Raises InvalidOption, NotUsable."""
    if protocol and not (http or model.http):
        raise InvalidOption("--protocol", "needs --http URL")
    if protocol:
        model = msgspec.structs.replace(model, protocol=protocol)
    if not http:
        return model
    from rdv.models.remote.settings import InvalidRemote, places_of

    if model.path or model.command or model.builtin == "decoy":
        raise InvalidOption("--http", "does not go with a file, a command or a decoy")
    try:
        places_of(http)
    except InvalidRemote as error:
        raise NotUsable("--http", str(error)) from None
    return msgspec.structs.replace(model, http=http[0] if len(http) == 1 else http)


def check_servers(decision: Decision, name: str, model: ModelConfig) -> None:
    """Ask the servers of a model once. Raises ModelNotLoaded with what they have said."""
    from rdv.models.remote import check_server

    values = model.remote_values()
    if values["ca_file"]:
        values["ca_file"] = decision.path(values["ca_file"])
    check_server(name, values)


def is_file(decision: Decision, path: str) -> bool:
    """Return whether there is such a file or folder, here or in the decision's directory."""
    return is_registry_uri(path) or _place(decision, path, is_path=True) is not None


def need_kind(option: str, path: str, place: str) -> None:
    """Check that rdv can load the model file `path`, which is at `place`. Raises NotUsable."""
    from rdv.models.kinds import PYTHON_ENDING, UnknownKind, find_kind

    if path.endswith(PYTHON_ENDING) and os.path.isfile(place):
        return
    try:
        find_kind(place)
    except UnknownKind as error:
        hint = "A program of any other kind: -- COMMAND…"
        raise NotUsable(option, f"{path}: {error}", hint) from None


def _looked_at(decision: Decision, path: str) -> str:
    """Return both places that were searched, as absolute paths."""
    places = (os.path.abspath(path), os.path.abspath(decision.path(path)))
    return ", nor ".join(dict.fromkeys(places))


def _place(decision: Decision, path: str, *, is_path: bool = False) -> str | None:
    """Return the name of a file or folder for rdv.toml; None if there is no such file."""
    exists = os.path.exists if is_path else os.path.isfile
    if exists(path):
        full = os.path.abspath(path)
        root = os.path.abspath(decision.directory)
        return os.path.relpath(full, root) if os.path.commonpath((full, root)) == root else full
    return path if exists(decision.path(path)) else None
