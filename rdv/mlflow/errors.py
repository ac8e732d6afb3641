"""Errors of an MLflow registry."""

from __future__ import annotations

from rdv.errors import DataFault, InputFault, SystemFault


class NoTrackingUri(InputFault):
    """A path names a registry, but nothing says where it is."""

    uri: str

    _text = "{uri}: no MLflow server is known"
    _hint = "Set MLFLOW_TRACKING_URI, or tracking_uri in [mlflow] of rdv.toml."


class UnusableTrackingUri(InputFault):
    """The tracking URI is not that of a server."""

    uri: str
    reason: str

    _text = "tracking URI {uri!r}: {reason}"
    _hint = "rdv reads the registry of a server, as http://mlflow.example:5000."


class RegistryUnreachable(SystemFault):
    """The MLflow server does not answer, or not as a server does."""

    address: str
    reason: str

    _text = "no answer from the MLflow server at {address}: {reason}"


class RegistryDenied(InputFault):
    """The MLflow server refuses the credentials."""

    address: str
    status: int
    unsupported: str = ""
    """The variable that asks for a kind of access that rdv does not have."""

    _text = "the MLflow server at {address} refuses access (HTTP {status})"

    def hint(self) -> str:
        """Say what to check."""
        if self.unsupported:
            return f"rdv does not support {self.unsupported}: set MLFLOW_TRACKING_TOKEN."
        return "Check MLFLOW_TRACKING_TOKEN, or MLFLOW_TRACKING_USERNAME and _PASSWORD."


class NotInRegistry(InputFault):
    """The registry has no such model, version or alias."""

    uri: str
    reason: str

    _text = "{uri}: {reason}"


class RegistryRefused(InputFault):
    """The MLflow server has refused a request for another reason."""

    address: str
    reason: str

    _text = "the MLflow server at {address} refuses: {reason}"


class ArtifactsUnusable(DataFault):
    """The files of a version cannot be downloaded, or are not an MLflow model."""

    uri: str
    reason: str
    advice: str = ""

    _text = "{uri}: {reason}"

    def hint(self) -> str:
        return self.advice
