"""A [models.NAME] table of an `rdv.toml` describes one model of the decision."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec

from rdv.decision.remote import ProtocolName, Remote, servers
from rdv.decision.sections import MS, live, on_replace
from rdv.system.cgroup import Limits
from rdv.system.limits import parse_size

Builtin = Literal["", "decoy", "canary"]
WhenBehind = Literal["skip", "all"]
INSTANCES_MAX = 64
AsInstances = Literal["instances"]


class ModelConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Describes one model: where its code is, and how many instances of it run.

    Exactly one of `path`, `command`, `http` and `builtin = "decoy"` is given; a canary is a model
    with one of the first three that evaluates every request.
    """

    path: Annotated[
        str,
        on_replace(
            "A .py file with predict(rows) -> results, or a model file or folder of a library"
        ),
    ] = ""
    command: Annotated[
        list[str],
        on_replace('Or a command that reads and writes JSON lines, as ["Rscript", "gbm.R"]'),
    ] = []
    http: Annotated[
        str | list[str],
        on_replace('Or the address of a server, "http://models:8080", or a list of its replicas'),
    ] = ""
    protocol: Annotated[
        ProtocolName,
        on_replace('What the server of http speaks: "json", "oip", "mlflow" or "tfserving"'),
    ] = "json"
    remote: Annotated[Remote, on_replace("How the server is asked: see [models.NAME.remote]")] = (
        Remote()
    )
    builtin: Annotated[
        Builtin,
        on_replace(
            'Or "decoy": archives the input; with a path or command, "canary": skips no request'
        ),
    ] = ""
    version: Annotated[
        str,
        on_replace(
            "Version recorded with each score, before a hash of the model's files; empty: its own"
        ),
    ] = ""
    artifacts: Annotated[
        list[str],
        on_replace("More files, folders or patterns that it is made of: what a C++ library reads"),
    ] = []
    instances: Annotated[
        int, live("Number of processes that share the requests of this model", 1, INSTANCES_MAX)
    ] = 1
    instances_min: Annotated[
        Annotated[int, msgspec.Meta(ge=0, le=INSTANCES_MAX)] | AsInstances,
        live('Smallest number when scaling; 0: started by a request; "instances": that number'),
    ] = "instances"
    instances_max: Annotated[
        Annotated[int, msgspec.Meta(ge=1, le=INSTANCES_MAX)] | AsInstances,
        live('Largest number when scaling; "instances": that number'),
    ] = "instances"
    idle_ms: Annotated[
        int, live("Scaling: after this time without requests, only instances_min remain", *MS)
    ] = 60_000
    scale_down_ms: Annotated[
        int,
        live(
            "Scaling: an instance is stopped when fewer would have been enough for this time", *MS
        ),
    ] = 30_000
    batch_max: Annotated[
        int, on_replace("Maximum number of requests in one call of predict", 1, 65_536)
    ] = 64
    batch_wait_ms: Annotated[
        float,
        on_replace(
            "Maximum wait for a larger batch, where a larger batch is cheaper; 0: never wait",
            0,
            60_000,
        ),
    ] = 0.0
    when_behind: Annotated[
        WhenBehind,
        on_replace(
            'Requests past their deadline: "skip" refuses them, "all" evaluates them all the same'
        ),
    ] = "skip"
    input_errors: Annotated[
        list[str],
        on_replace('Exceptions of the model that mean invalid input, a refusal: ["KeyError"]'),
    ] = []
    sample: Annotated[
        float, live("Share of the requests that it scores; the others do not wait for it", 0, 1)
    ] = 1.0
    start_timeout_ms: Annotated[int, on_replace("Time limit for loading the model", *MS)] = 30_000
    predict_timeout_ms: Annotated[
        int, on_replace("Time limit for one batch; beyond, the model is restarted", *MS)
    ] = 10_000
    result_bytes_max: Annotated[
        int, on_replace("Maximum size of a result; a larger one is an error", 1, 16 * 1024 * 1024)
    ] = 1_048_576
    archive_bytes_max: Annotated[
        int,
        on_replace(
            "Decoy: maximum size of its archive; beyond, the oldest files are deleted", 4096, 2**50
        ),
    ] = 1_073_741_824
    retired: Annotated[bool, live("Declared, but not started; schedules should not name it")] = (
        False
    )

    threads: Annotated[
        int, on_replace("Threads that a library's own model file may use in one process", 1, 1024)
    ] = 1
    trusted: Annotated[
        list[str],
        on_replace("A .skops file: types in it that may be loaded besides scikit-learn's own"),
    ] = []
    options: Annotated[
        dict[str, Any],
        on_replace("More options of the kind of model file, see docs/howto/bring-a-model.md"),
    ] = {}

    warm_up: Annotated[
        bool,
        on_replace(
            "Whether a recorded or made row is evaluated before it is ready; false: side effects"
        ),
    ] = True
    memory_max: Annotated[
        str,
        on_replace('Memory that it may add to its process, as "2GiB"; beyond, it is restarted'),
    ] = ""
    cpu_max: Annotated[
        float,
        on_replace(
            "Processors that one process of it may use, as 0.5; 0: no limit; needs cgroups", 0, 1024
        ),
    ] = 0.0
    nice: Annotated[
        int, on_replace("How far its processes step back for others, as nice(1)", 0, 19)
    ] = 0
    python: Annotated[
        str,
        on_replace('Interpreter for the model file, else that of rdv: ".venv-gbm/bin/python"'),
    ] = ""
    requirements: Annotated[
        str,
        on_replace("List of the libraries of the model file; its environment is made at the start"),
    ] = ""

    env: Annotated[
        list[str],
        on_replace('Environment variables for this model, besides the usual ones: ["API_KEY"]'),
    ] = []

    @property
    def scores(self) -> bool:
        """Return whether it reports scores: a decoy and a retired model do not."""
        return self.builtin != "decoy" and not self.retired

    @property
    def skips(self) -> bool:
        """Return whether it refuses late requests; a canary has to see everything."""
        return self.when_behind == "skip" and self.builtin == ""

    @property
    def memory_max_bytes(self) -> int:
        """Return `memory_max` in bytes; 0: no limit."""
        return parse_size(self.memory_max) if self.memory_max else 0

    @property
    def limits(self) -> Limits:
        """Return the limits of the group of each of its processes.

        The group has an eighth more memory than `memory_max`: so an allocation of the model's
        process fails, which is an error of its row, before the system ends the process.
        """
        return Limits(self.memory_max_bytes * 9 // 8, self.cpu_max)

    @property
    def more_files(self) -> list[str]:
        """Return its artifacts and its list of requirements."""
        return [*self.artifacts, *([self.requirements] if self.requirements else [])]

    @property
    def made_of(self) -> str:
        """Return what an edit of it changes the model: its file, else its command."""
        return self.path or " ".join(self.command or servers(self.http)) or self.builtin

    @property
    def range(self) -> tuple[int, int]:
        """Return the range in which its instances scale; without scaling both are `instances`."""
        low, high, count = self.instances_min, self.instances_max, self.instances
        least = low if low != "instances" else count if high == "instances" else min(count, high)
        return least, max(count, least) if high == "instances" else high

    @property
    def scales(self) -> bool:
        """Return whether its number of instances depends on the load."""
        least, most = self.range
        return least != most

    def unscaled(self) -> ModelConfig:
        """Return the model with default numbers of instances: the settings of a single instance."""
        fields = ModelConfig()
        kept = {name: getattr(fields, name) for name in _NUMBERS}
        return msgspec.structs.replace(self, **kept)

    def opening(self) -> dict[str, Any]:
        """Return the arguments of `rdv.models.open_model` besides the directory and the name."""
        return {
            "path": self.path,
            "command": tuple(self.command),
            "builtin": self.builtin,
            "version": self.version,
            "artifacts": tuple(self.artifacts),
            "options": self.adapter_options(),
            "input_errors": tuple(self.input_errors),
            "python": self.python,
            "requirements": self.requirements,
            "start_timeout_ms": self.start_timeout_ms,
            "predict_timeout_ms": self.predict_timeout_ms,
            "result_bytes_max": self.result_bytes_max,
            "archive_bytes_max": self.archive_bytes_max,
            "remote": self.remote_values(),
        }

    def remote_values(self) -> dict[str, Any]:
        """Return the values of `rdv.models.remote.Settings`; none without `http`."""
        if not self.http:
            return {}
        values = msgspec.structs.asdict(self.remote)
        return {**values, "http": servers(self.http), "protocol": self.protocol}

    @property
    def variables(self) -> tuple[str, ...]:
        """Return the variables of the environment that its process gets."""
        return (*self.env, *self.remote.variables)

    def adapter_options(self) -> dict[str, Any]:
        """Return the options for the adapter of a model file."""
        given: dict[str, Any] = {"threads": self.threads}
        if self.trusted:
            given["trusted"] = list(self.trusted)
        return {**given, **self.options}


_NUMBERS = ("instances", "instances_min", "instances_max", "idle_ms", "scale_down_ms")
"""Settings that only the supervisor reads."""
