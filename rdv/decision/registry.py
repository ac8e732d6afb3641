"""Models that come from an MLflow registry: `path = "models:/fraud@champion"`.

The registry is read by one process (`rdv.mlflow`), which downloads versions into the decision and
records which model has which version in `models/.mlflow/NAME.json`. All other processes see a
decision whose models have plain folders as their paths (`with_registry`).

A model that follows an alias may have two versions at once, like blue and green: NAME and NAME-b.
The live schedule prefers one of them; a new version is loaded as the other one.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import Any, NamedTuple
from urllib.parse import quote

import msgspec

from rdv.decision.decision import Decision, Registered
from rdv.decision.model import ModelConfig
from rdv.errors import InputFault

PREFIX = "models:/"
FOLDER = os.path.join("models", ".mlflow")
SECOND = "-b"
"""The ending of the name of the second version."""

REGISTRY_ENVIRONMENT = (
    "RDV_MLFLOW_TRACKING_URI", "MLFLOW_TRACKING_URI", "MLFLOW_TRACKING_TOKEN",
    "MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD", "MLFLOW_TRACKING_INSECURE_TLS",
    "MLFLOW_TRACKING_SERVER_CERT_PATH", "MLFLOW_TRACKING_CLIENT_CERT_PATH", "REQUESTS_CA_BUNDLE",
    "CURL_CA_BUNDLE", "MLFLOW_TRACKING_AUTH", "MLFLOW_TRACKING_AWS_SIGV4", "MLFLOW_WEBHOOK_SECRET",
    "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE", "AWS_REGION",
    "AWS_DEFAULT_REGION", "AWS_CA_BUNDLE", "AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE",
    "AWS_ROLE_ARN", "AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_ENDPOINT_URL", "MLFLOW_S3_ENDPOINT_URL",
    "MLFLOW_S3_IGNORE_TLS", "GOOGLE_APPLICATION_CREDENTIALS", "AZURE_STORAGE_CONNECTION_STRING",
    "AZURE_STORAGE_ACCESS_KEY",
)  # fmt: skip
"""The variables that the process gets that reads the registry; models do not get them."""

WRITE_BACKS_MAX = 20
"""How many promotions wait for a registry that is unreachable, at most."""

_ALIAS = re.compile(r"[A-Za-z0-9_-]+", re.ASCII)
_NAME = re.compile(r"[^/:\0\n]+")


class InvalidRegistryUri(InputFault):
    """A path that begins with models:/ does not name a version in a registry."""

    uri: str
    reason: str

    _text = "{uri!r}: {reason}"
    _hint = "Write models:/NAME@ALIAS or models:/NAME/VERSION, as models:/fraud@champion."


class RegistryUri(NamedTuple):
    """Names a version of a registered model: by its alias, or by its number; the other is empty."""

    name: str
    alias: str
    version: str

    def __str__(self) -> str:
        return f"{PREFIX}{self.name}" + (f"@{self.alias}" if self.alias else f"/{self.version}")


def is_registry_uri(path: str) -> bool:
    """Return whether the path of a model names one in a registry."""
    return path.startswith("models:")


def parse_uri(uri: str) -> RegistryUri:
    """Return the parts of `models:/NAME@ALIAS` or `models:/NAME/VERSION`.

    Pure. Raises InvalidRegistryUri.
    """
    if not uri.startswith(PREFIX) or uri.startswith(PREFIX + "/"):
        raise InvalidRegistryUri(uri, "the server is not a part of it: see tracking_uri")
    rest = uri.removeprefix(PREFIX)
    name, slash, version = rest.partition("/")
    if slash:
        if not (version.isascii() and version.isdigit()):
            raise InvalidRegistryUri(uri, f"{version!r} is not the number of a version")
        alias = ""
    else:
        name, at, alias = rest.rpartition("@")
        if not at:
            raise InvalidRegistryUri(uri, "it has neither an alias nor a version")
        if not _ALIAS.fullmatch(alias):
            raise InvalidRegistryUri(uri, f"{alias!r} is not an alias")
    if not _NAME.fullmatch(name) or not name.strip():
        raise InvalidRegistryUri(uri, f"{name!r} is not the name of a registered model")
    return RegistryUri(name, alias, version.lstrip("0") or "0" if slash else "")


def version_folder(name: str, version: str) -> str:
    """Return the folder of a downloaded version, relative to the decision. Pure."""
    return os.path.join(FOLDER, _file_name(name), version)


def _file_name(name: str) -> str:
    """Return a registered model's name as that of a folder, different for different names."""
    text = quote(name, safe=" ")
    return "%2E" + text[1:] if text.startswith(".") else text


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """A version that asks for a promotion: `model` has it, in place of `over`."""

    model: str
    version: str
    over: str
    since_ns: int
    replaced: str = ""
    """The version that `model` had before; empty when there was no such model."""
    looks: int = 0
    """How often the gate was asked."""
    scored: int = 0
    """How many requests it had scored when the gate was last asked."""
    judged_ns: int = 0
    verdict: str = ""
    text: str = ""
    """What the gate has found, or misses."""


class WriteBack(msgspec.Struct, frozen=True, kw_only=True):
    """What a promotion writes to the registry: tags of versions, and an alias."""

    name: str
    tags: dict[str, dict[str, str]]
    """By version."""
    alias: str = ""
    to: str = ""
    """The version that the alias shall name."""
    unless: list[str] = []
    """The alias is moved only if it names one of these versions now."""


class RegistryState(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of one model of rdv.toml that comes from a registry."""

    uri: str
    tracking_uri: str = ""
    """The server, as it was given when the model was added; without user and password."""
    versions: dict[str, str] = {}
    """The versions by model: NAME, and perhaps NAME-b."""
    asked: Asked | None = None
    write_backs: list[WriteBack] = []
    """What could not be written to the registry yet."""


def state_path(directory: str, name: str) -> str:
    """Return the file of a model's state."""
    return os.path.join(directory, FOLDER, f"{name}.json")


def read_state(directory: str, name: str) -> RegistryState | None:
    """Return the state of a model; None when there is no usable one."""
    try:
        with open(state_path(directory, name), "rb") as file:
            return msgspec.json.decode(file.read(), type=RegistryState)
    except (OSError, msgspec.DecodeError):
        return None


def registry_models(decision: Decision) -> dict[str, RegistryUri]:
    """Return the models of rdv.toml that come from a registry, without second versions."""
    return {
        name: parse_uri(one.uri) for name, one in decision.registered.items() if name == one.model
    }


def second_name(name: str) -> str:
    """Return the name of the second version of a model that follows an alias. Pure."""
    return f"{name}{SECOND}"


def with_registry(decision: Decision) -> Decision:
    """Return `decision` with the downloaded folders in place of paths of a registry.

    A model that was never downloaded keeps its path: its worker says so. Reads the files of
    states. Raises nothing.
    """
    if not any(is_registry_uri(model.path) for model in decision.models.values()):
        return decision
    models: dict[str, ModelConfig] = {}
    registered: dict[str, Registered] = {}
    for name, model in decision.models.items():
        models[name] = model
        if not is_registry_uri(model.path):
            continue
        registered[name] = Registered(model.path, name, "")
        state = read_state(decision.directory, name)
        versions = state.versions if state is not None and state.uri == model.path else {}
        for slot, version in _slots(name, versions).items():
            uri = parse_uri(model.path)
            folder = version_folder(uri.name, version)
            models[slot] = msgspec.structs.replace(
                model,
                path=folder,
                version=model.version or version,
                requirements=in_folder(model.requirements, folder),
            )
            registered[slot] = Registered(model.path, name, version)
    return decision.replace(models=models, registered=registered)


def in_folder(file: str, folder: str) -> str:
    """Return the path of a file that models:/FILE names in a downloaded folder. Pure."""
    if not is_registry_uri(file):
        return file
    return os.path.join(folder, os.path.basename(file.removeprefix(PREFIX)))


def _slots(name: str, versions: Mapping[str, str]) -> dict[str, str]:
    return {slot: versions[slot] for slot in (name, second_name(name)) if slot in versions}


def state_files(decision: Decision) -> list[str]:
    """Return the files of states, which change what the decision is."""
    models = {one.model for one in decision.registered.values()}
    return [state_path(decision.directory, name) for name in sorted(models)]


def registry_rows(decision: Decision) -> list[dict[str, Any]]:
    """Return for each model of a registry its versions, and what asks for a promotion.

    Reads the files of states.
    """
    rows = []
    for name, one in decision.registered.items():
        if one.model != name:
            continue
        state = read_state(decision.directory, name)
        if state is None or state.uri != one.uri:
            state = RegistryState(uri=one.uri)
        rows.append(
            {
                "model": name,
                "uri": one.uri,
                "versions": state.versions,
                "asks": None if state.asked is None else msgspec.to_builtins(state.asked),
                "not_written_back": len(state.write_backs),
            }
        )
    return rows
