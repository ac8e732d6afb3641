"""Finds and downloads the version that a path of a registry names."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import AbstractContextManager

import msgspec

from rdv.decision import Decision, ModelConfig
from rdv.decision.registry import RegistryState, in_folder, parse_uri, version_folder
from rdv.mlflow.client import ModelVersion, Registry, tracking_uri, without_secrets
from rdv.mlflow.download import download
from rdv.mlflow.errors import NoTrackingUri
from rdv.mlflow.state import declared_state


def registry_of(
    decision: Decision, uri: str, environ: Mapping[str, str] | None = None, fallback: str = ""
) -> Registry:
    """Return the registry of a decision. Raises NoTrackingUri, UnusableTrackingUri."""
    environ = os.environ if environ is None else environ
    address = tracking_uri(decision.mlflow, environ, fallback)
    if not address:
        raise NoTrackingUri(uri)
    return Registry(address, environ, decision.mlflow.timeout_ms)


def fetch(decision: Decision, uri: str, address: str = "") -> tuple[ModelVersion, str]:
    """Download what `uri` names now; return it with the server's address, without secrets.

    `address` is the server's, before that of the environment. Raises InvalidRegistryUri, what
    `Registry` and `download` raise.
    """
    wanted = parse_uri(uri)
    environ = {**os.environ, "RDV_MLFLOW_TRACKING_URI": address} if address else dict(os.environ)
    with registry_of(decision, uri, environ) as registry:
        found = registry.version_of(wanted)
        download(registry, decision.directory, found, decision.mlflow.download_bytes_max, environ)
        return found, without_secrets(registry.given)


def fetched(model: ModelConfig, found: ModelVersion) -> ModelConfig:
    """Return a model's settings with the downloaded folder as its path."""
    folder = version_folder(found.name, found.version)
    return msgspec.structs.replace(
        model,
        path=folder,
        version=model.version or found.version,
        requirements=in_folder(model.requirements, folder),
    )


def declared(
    decision: Decision, name: str, uri: str, found: ModelVersion, address: str
) -> AbstractContextManager[None]:
    """Record that model `name`, which follows `uri`, begins with this version.

    It is for the block in which rdv.toml begins to name the model: see `declared_state`.
    """
    new = RegistryState(uri=uri, tracking_uri=address, versions={name: found.version})
    return declared_state(decision.directory, name, new)
