"""Declare the [mlflow] section of an rdv.toml: the registry that paths like models:/NAME name."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from rdv.decision.sections import MS, PORT_MAX, live, on_serve

WhenPassed = Literal["ask", "auto"]
DAY_MS = 86_400_000


class Mlflow(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Configures how the aliases of an MLflow registry are followed (`rdv.mlflow`)."""

    tracking_uri: Annotated[
        str, live("Address of the MLflow server; MLFLOW_TRACKING_URI takes precedence")
    ] = ""
    follow: Annotated[
        bool, live("Whether a moved alias loads its new version; false: the versions stay")
    ] = True
    promote: Annotated[
        WhenPassed,
        live('When a new version passes the gate: "ask" for rdv promote, or "auto": promote it'),
    ] = "ask"
    watch_ms: Annotated[
        int,
        live('promote = "auto": how long the new champion is watched, and rolled back', 1, DAY_MS),
    ] = 600_000
    poll_ms: Annotated[
        int, live("How often the server is asked about the aliases, about", 100, 3_600_000)
    ] = 30_000
    timeout_ms: Annotated[int, live("Time limit for an answer of the server", *MS)] = 10_000
    download_bytes_max: Annotated[
        int, live("Maximum size of a model that is downloaded", 1, 2**50)
    ] = 4_294_967_296
    versions_kept: Annotated[
        int, live("How many downloaded versions of a model are kept besides those in use", 0, 1000)
    ] = 3
    webhook_port: Annotated[
        int,
        on_serve("Port on which webhooks of the MLflow server are accepted; 0: none", 0, PORT_MAX),
    ] = 0
