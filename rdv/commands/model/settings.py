"""Turn the options of a command line into the settings of a model."""

from __future__ import annotations

from typing import Annotated

import msgspec
import typer

from rdv.api import model_code as code
from rdv.api.model_code import looked_at, place_of
from rdv.commands.errors import InvalidOption
from rdv.decision import Decision, ModelConfig
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
    """Return `model` with other code, if any is given, as `rdv.api.model_code.with_code`.

    `option` is the name of the path's option. Raises InvalidOption and what that function raises.
    """
    check_one_code(path, command, option)
    return code.with_code(model, decision, path, command, option)


def check_one_code(path: str | None, command: list[str] | None, option: str = "--path") -> None:
    """Raise InvalidOption where both a file and a command are given."""
    if path and command:
        raise InvalidOption(option, "does not go with a command: one of them is enough")


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
        found = place_of(decision, requirements)
        if found is None:
            reason = f"there is no file {looked_at(decision, requirements)}"
            raise NotUsable("--requirements", reason)
        requirements = found
    if python:
        python = place_of(decision, python) or python
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
