"""A decision consists of the typed contents of its `rdv.toml` and the paths of its files.

Everything here is immutable and may be shared between threads.
"""

from __future__ import annotations

import os
from typing import Annotated, Any

import msgspec

from rdv.config.fields import setting
from rdv.config.gate import Gate
from rdv.config.model import ModelConfig
from rdv.config.sections import PARTITIONS_MAX, Http, Log, Server

FILE_NAME = "rdv.toml"
RUN_DIRECTORY = ".rdv"
STREAMS = ("input", "scores", "results", "control", "outcomes")


class Cohort(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Describes a group of keys that gets another schedule."""

    share: Annotated[float, setting("share of the keys", ge=0, le=1, effect="live")]
    schedule: Annotated[str, setting("the name of its schedule", effect="live")]
    models: Annotated[
        list[str],
        setting("only these score its requests (and decoys, canaries); empty: all", effect="live"),
    ] = []


class Cohorts(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Describes the [cohorts] section: groups of keys with another than the live schedule."""

    salt: Annotated[
        str,
        setting(
            "another salt deals the keys anew; keep it while an experiment runs", effect="live"
        ),
    ] = ""
    groups: dict[str, Cohort] = {}


class Decision(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Holds the settings of one decision.

    `directory` is where it was loaded from, `warnings` are retired keys in its rdv.toml; neither is
    a setting.
    """

    directory: str = ""
    warnings: tuple[str, ...] = ()
    name: Annotated[
        str, setting("what this decision is called; empty: as its directory", effect="live")
    ] = ""
    schedule: Annotated[str, setting("the live schedule: schedules/NAME.toml", effect="live")] = (
        "production"
    )
    partitions: Annotated[
        int,
        setting(
            "of input and scores; servers and instances share them",
            1,
            PARTITIONS_MAX,
            effect="serve",
        ),
    ] = 1
    env: Annotated[
        list[str],
        setting(
            'variables that all models and the enricher get besides the usual: ["AWS_PROFILE"]',
            effect="replace",
        ),
    ] = []
    http: Http = Http()
    server: Server = Server()
    log: Log = Log()
    gate: Gate = Gate()
    models: dict[str, ModelConfig] = {}
    cohorts: Cohorts = Cohorts()

    @property
    def file(self) -> str:
        """Return the path of the decision's rdv.toml."""
        return os.path.join(self.directory, FILE_NAME)

    def path(self, *parts: str) -> str:
        """Return the path for one that is relative to the decision's directory."""
        return os.path.join(self.directory, *parts)

    def stream_path(self, stream: str) -> str:
        """Return the directory of one of `STREAMS`."""
        return self.path(stream)

    def schedule_path(self, name: str = "") -> str:
        """Return the file of a schedule; of the live one when no name is given."""
        return self.path("schedules", f"{name or self.schedule}.toml")

    def scoring_models(self) -> list[str]:
        """Return the models that report scores, in the file's order: no decoys, none retired."""
        return [name for name, model in self.models.items() if model.scores]

    @property
    def shareable(self) -> int:
        """Return the maximum number of a model's instances that can have work.

        Every proxy's topic has as many partitions as configured, and each belongs to one instance.
        """
        return self.partitions * self.http.proxies

    def replace(self, **changes: Any) -> Decision:
        """Return a copy with other settings."""
        return msgspec.structs.replace(self, **changes)
