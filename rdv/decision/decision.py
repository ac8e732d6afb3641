"""A decision: the typed contents of its rdv.toml, the paths of its files, and its schedules.

Everything here is immutable and may be shared between threads.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, NamedTuple

import msgspec

from rdv import toml_text
from rdv.decision.console import Console
from rdv.decision.features import HttpFeatures, RedisFeatures
from rdv.decision.logs import Logging
from rdv.decision.mlflow import Mlflow
from rdv.decision.model import ModelConfig
from rdv.decision.notify import Notify
from rdv.decision.objective import Objective
from rdv.decision.outcome import Outcome
from rdv.decision.schema import Schema
from rdv.decision.sections import (
    COUNT_MAX,
    PARTITIONS_MAX,
    Drift,
    Http,
    Log,
    Server,
    live,
    on_command,
    on_replace,
    on_serve,
)
from rdv.decision.traces import Traces
from rdv.decision.value import Value
from rdv.errors import RdvError
from rdv.rendezvous.schedule import InvalidSchedule, Schedule, schedule_from_toml

FILE_NAME = "rdv.toml"
RUN_DIRECTORY = ".rdv"
SUFFIX = ".toml"


class Gate(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Limits of `rdv promote` (`rdv.analysis.promote.gate`)."""

    requests_min: Annotated[
        int, on_command("Minimum number of requests that both models have scored", 1, COUNT_MAX)
    ] = 1000
    judged_min: Annotated[
        int,
        on_command(
            "Minimum number of known outcomes with which they count instead of agreement",
            1,
            COUNT_MAX,
        ),
    ] = 100
    metric: Annotated[
        str,
        on_command('What outcomes are judged by: "roc-auc", "f1", "mae" ...; empty: by their type'),
    ] = ""
    class_min: Annotated[
        int,
        on_command(
            "Minimum number of known outcomes of each class with which they count", 1, COUNT_MAX
        ),
    ] = 30
    loss_max: Annotated[
        float,
        on_command("Largest loss of the metric compared with the champion, if it is 0 to 1", 0, 1),
    ] = 0.005
    relative_loss_max: Annotated[
        float,
        on_command("Largest loss of another metric, as a share of the champion's value", 0, 1),
    ] = 0.02
    class_loss_max: Annotated[
        float, on_command("Largest loss of right answers among the outcomes of one class", 0, 1)
    ] = 0.05
    looks: Annotated[
        int,
        on_command(
            "How often the gate is asked about a model until it passes, at most: daily for weeks",
            1,
            1000,
        ),
    ] = 10
    coverage_min: Annotated[
        float,
        on_command("Minimum share of the requests whose outcome is known; 0: any", 0, 1),
    ] = 0.0
    agreement_min: Annotated[
        float,
        on_command(
            "Without outcomes: minimum agreement with the champion (of scores: of their ranks)",
            0,
            1,
        ),
    ] = 0.9
    kappa_min: Annotated[
        float,
        on_command(
            "Without outcomes: minimum agreement of answers beyond chance (Cohen's kappa)", 0, 1
        ),
    ] = 0.6
    late_max: Annotated[
        float,
        on_command(
            "Maximum share of answers that are later than the champion's window, or its own answer",
            0,
            1,
        ),
    ] = 0.01
    errors_max: Annotated[float, on_command("Maximum share of errors among its requests", 0, 1)] = (
        0.001
    )
    refusals_max: Annotated[
        float, on_command("Maximum share of refusals among its requests", 0, 1)
    ] = 0.01
    defaults_max: Annotated[
        float,
        on_command("--watch: largest increase of the share of defaults among the answers", 0, 1),
    ] = 0.02
    marginal_factor: Annotated[
        float, on_command("A limit that is exceeded by less than this factor is marginal", 1, 1000)
    ] = 5.0


SECTIONS: dict[str, type[msgspec.Struct]] = {
    "http": Http,
    "server": Server,
    "log": Log,
    "gate": Gate,
    "outcome": Outcome,
    "value": Value,
    "objective": Objective,
    "schema": Schema,
    "enrich_redis": RedisFeatures,
    "enrich_http": HttpFeatures,
    "drift": Drift,
    "logging": Logging,
    "notify": Notify,
    "console": Console,
    "traces": Traces,
    "mlflow": Mlflow,
}
"""The tables of an rdv.toml besides [models] and [cohorts]."""


class Cohort(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Describes a group of keys that gets another schedule."""

    share: Annotated[float, live("Share of the keys", 0, 1)]
    schedule: Annotated[str, live("Name of its schedule")]
    explore: Annotated[
        float,
        live(
            "Share of its requests that get it, drawn for each (the others: the live one); 0: all",
            0,
            1,
        ),
    ] = 0.0
    models: Annotated[
        list[str],
        live("Only these models score its requests (and decoys and canaries); empty: all"),
    ] = []


class Cohorts(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Describes the [cohorts] section: groups of keys with another than the live schedule."""

    salt: Annotated[
        str, live("Another value assigns the keys anew; do not change it during an experiment")
    ] = ""
    groups: dict[str, Cohort] = {}


class Registered(NamedTuple):
    """Says where a model comes from: the path in rdv.toml, and the model's name there."""

    uri: str
    model: str
    version: str
    """The registry's version; empty while none was downloaded."""


class Decision(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Holds the settings of one decision.

    `directory` is where it was loaded from, `warnings` are retired keys in its rdv.toml,
    `registered` says which models come from a registry (`rdv.decision.registry`); none of these is
    a setting.
    """

    directory: str = ""
    warnings: tuple[str, ...] = ()
    registered: dict[str, Registered] = {}
    name: Annotated[str, live("Name of this decision; empty: the name of its directory")] = ""
    schedule: Annotated[str, live("Name of the live schedule: schedules/NAME.toml")] = "production"
    partitions: Annotated[
        int,
        on_serve(
            "Partitions of input and scores, which servers and instances share", 1, PARTITIONS_MAX
        ),
    ] = 1
    env: Annotated[
        list[str],
        on_replace(
            'Environment variables for models and enricher besides the usual ones: ["AWS_PROFILE"]'
        ),
    ] = []
    http: Http = Http()
    server: Server = Server()
    log: Log = Log()
    gate: Gate = Gate()
    outcome: Outcome = Outcome()
    value: Value = Value()
    objective: Objective = Objective()
    schema: Schema = Schema()
    enrich_redis: RedisFeatures = RedisFeatures()
    enrich_http: HttpFeatures = HttpFeatures()
    drift: Drift = Drift()
    logging: Logging = Logging()
    notify: Notify = Notify()
    console: Console = Console()
    traces: Traces = Traces()
    mlflow: Mlflow = Mlflow()
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
        return self.partitions * (self.http.proxies + bool(self.http.grpc_port))

    def replace(self, **changes: Any) -> Decision:
        """Return a copy with other settings."""
        return msgspec.structs.replace(self, **changes)


@dataclass(frozen=True)
class Schedules:
    """Holds the valid schedules, and their files' texts; `faults` are the other files' errors."""

    by_name: Mapping[str, Schedule] = field(default_factory=dict)
    texts: Mapping[str, str] = field(default_factory=dict)
    faults: tuple[RdvError, ...] = ()
    unreadable: Mapping[str, InvalidSchedule] = field(default_factory=dict)
    """The faults of files by the schedules' names."""


def schedule_files(directory: str) -> list[str]:
    """Return the files of `DIR/schedules`, sorted. Raises OSError."""
    folder = os.path.join(directory, "schedules")
    return [
        os.path.join(folder, name)
        for name in sorted(os.listdir(folder))
        if name.endswith(SUFFIX) and name != SUFFIX and not name.startswith(".")
    ]


def read_schedules(directory: str) -> Schedules:
    """Read `DIR/schedules/*.toml`. Raises nothing: faults are in the result."""
    found: dict[str, Schedule] = {}
    texts: dict[str, str] = {}
    unreadable: dict[str, InvalidSchedule] = {}
    try:
        paths = schedule_files(directory)
    except OSError as error:
        folder = os.path.join(directory, "schedules")
        return Schedules(faults=(InvalidSchedule(folder, "", error.strerror or str(error)),))
    for path in paths:
        name = os.path.basename(path).removesuffix(SUFFIX)
        try:
            text = toml_text.read(path)
            found[name], texts[name] = schedule_from_toml(text, name, path), text
        except FileNotFoundError:  # deleted meanwhile
            continue
        except (OSError, toml_text.NotToml) as error:
            unreadable[name] = InvalidSchedule(path, "", str(error))
        except InvalidSchedule as error:
            unreadable[name] = error
    return Schedules(found, texts, tuple(unreadable.values()), unreadable)
