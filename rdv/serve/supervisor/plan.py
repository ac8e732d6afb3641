"""Derives the processes that a decision needs, and when an ended one is started again. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

from rdv.decision import Decision, ModelConfig
from rdv.decision.registry import REGISTRY_ENVIRONMENT
from rdv.rendezvous.topology import proxy_name
from rdv.system.cgroup import Limits
from rdv.system.child import DELAY_MS_MAX, FIRST_DELAY_MS, restart_delay_ms

Role = Literal["server", "worker", "proxy", "mlflow"]
STOP_ORDER: tuple[Role, ...] = ("mlflow", "proxy", "worker", "server")
"""Proxies come before those that they need: they stop accepting and answer what is in flight."""


EDITED: frozenset[Role] = frozenset(("worker", "mlflow"))
"""The processes that an edit starts, replaces or stops."""

STEADY_MS = 10_000
"""A process that has run this long had started well: its next failure counts as the first."""

ATTEMPTS_MAX = 7
"""A server or proxy that never came up is given up after this many attempts (about 5 s)."""


START_S = 30.0
"""How long a worker may take to become ready beyond the time for loading its model."""

ENVIRONMENT_S = 1_800.0
"""How long it may take to install the libraries of a model."""


class Part(NamedTuple):
    """Describes a process: its name in logs and status, its command line behind `rdv component`."""

    name: str
    role: Role
    arguments: tuple[str, ...]
    model: str = ""
    """The model whose state is published to servers; empty for a decoy, which has no scores."""
    stamp: str = ""
    """For a worker, a value that changes when the process has to be replaced: its model's file or
    settings have changed. For the others it changes with the settings in force.
    """
    env: tuple[str, ...] = ()
    """Variables that it gets besides the usual ones (`rdv.system.environment`)."""
    made_of: str = ""
    """For a worker, the file or the command of its model."""
    ready_s: float = 60.0
    """How long it may take to become ready when it is to replace another one."""
    limits: Limits = Limits()
    """For a worker, those of the group that its process is put into."""


def first_count(decision: Decision, model: ModelConfig) -> int:
    """Return the instances of a model before anything is known of its load."""
    least, most = model.range
    wanted = 0 if least == 0 else min(max(model.instances, least), most)
    return min(wanted, decision.shareable)


def parts(
    decision: Decision,
    stamps: Mapping[str, str],
    counts: Mapping[str, int] | None = None,
    revision: str = "",
) -> list[Part]:
    """Return all processes of a decision, in the order of their start; `stamps` are by model.

    `counts` has the instances of the models that scale; others have as many as configured, but no
    more than can share the partitions. `revision` identifies the settings in force; a server or a
    proxy applies them by itself, and one that keeps ending is retried.
    """
    directory = decision.directory
    servers = [
        Part(
            f"server-{n}",
            "server",
            ("server", directory, "--accepted", "--number", str(n)),
            "",
            revision,
        )
        for n in range(min(decision.server.instances, decision.partitions))
    ]
    workers = [
        Part(
            f"{name}-{n}",
            "worker",
            ("worker", directory, name, "--accepted", "--number", str(n)),
            name if model.scores else "",
            stamps.get(name, ""),
            (*decision.env, *model.variables),
            model.made_of,
            ready_s(model),
            model.limits,
        )
        for name, model in decision.models.items()
        if not model.retired
        for n in range(_count(decision, name, model, counts or {}))
    ]
    proxies = [
        Part(
            proxy_name(decision.http.port + n),
            "proxy",
            ("proxy", directory, "--accepted", "--number", str(n)),
            "",
            revision,
            tuple(decision.env),
        )
        for n in range(decision.http.proxies)
    ]
    if port := decision.http.grpc_port:
        arguments = ("grpc", directory, "--accepted")
        proxies.append(
            Part(proxy_name(port), "proxy", arguments, "", revision, tuple(decision.env))
        )
    return [*servers, *workers, *proxies, *_followers(decision)]


def _followers(decision: Decision) -> list[Part]:
    """Return the process that follows a registry, where a model comes from one."""
    models = (decision.models[name] for name in decision.registered)
    if all(model.retired for model in models) or not decision.mlflow.follow:
        return []
    return [Part("mlflow", "mlflow", ("mlflow", decision.directory), env=REGISTRY_ENVIRONMENT)]


def ready_s(model: ModelConfig) -> float:
    """Return how long a worker of the model may take to become ready, in seconds."""
    made_s = ENVIRONMENT_S if model.requirements else 0.0
    return made_s + START_S + model.start_timeout_ms / 1000


def _count(decision: Decision, name: str, model: ModelConfig, counts: Mapping[str, int]) -> int:
    if not model.scales:
        return first_count(decision, model)
    return counts.get(name, first_count(decision, model))


def idle_instances(decision: Decision) -> list[str]:
    """Return a line for each model with more instances than can have work."""
    room = decision.shareable
    lines = []
    for name, model in decision.models.items():
        key = "instances" if model.instances_max == "instances" else "instances_max"
        most = model.range[1]
        if most > room and not model.retired:
            lines.append(
                f"models.{name}.{key}: {most} instances share {room} partition"
                f"{'s' if room > 1 else ''} (partitions × http.proxies): "
                f"only {room} will be started"
            )
    return lines


class Changes(NamedTuple):
    """Lists the differences between the running and the wanted processes."""

    start: list[Part]
    stop: list[Part]
    replace: list[Part]


def changes(running: Mapping[str, Part], wanted: list[Part]) -> Changes:
    """Return the changes. An edit affects EDITED only; others reload themselves."""
    names = {part.name for part in wanted}
    edited = [part for part in wanted if part.role in EDITED]
    return Changes(
        [part for part in edited if part.name not in running],
        [part for name, part in running.items() if part.role in EDITED and name not in names],
        [part for part in edited if part.name in running and part != running[part.name]],
    )


@dataclass(frozen=True)
class RestartState:
    """Counts how often in a row a process has ended soon after its start."""

    failures: int = 0
    started_ms: float = 0.0
    was_ready: bool = False
    """Whether it has ever been ready."""


def started(state: RestartState, now_ms: float) -> RestartState:
    """Record that a process has been made."""
    return replace(state, started_ms=now_ms)


def became_ready(state: RestartState) -> RestartState:
    """Record that it has become ready."""
    return replace(state, was_ready=True)


def forgiven(state: RestartState) -> RestartState:
    """Reset the failures after an edit of what the process is made of."""
    return replace(state, failures=0)


def ended(state: RestartState, now_ms: float) -> tuple[RestartState, float]:
    """Return the new state of a process that ended, and the delay until it is restarted, in ms.

    See `restart_delay_ms`.
    """
    failures = 0 if now_ms - state.started_ms >= STEADY_MS else state.failures
    delay_ms = restart_delay_ms(failures, FIRST_DELAY_MS, DELAY_MS_MAX)
    return replace(state, failures=failures + 1), delay_ms


def is_hopeless(state: RestartState, *, is_refusal: bool = False) -> bool:
    """Return whether it has failed too often without ever coming up; a refusal is enough."""
    return not state.was_ready and (is_refusal or state.failures >= ATTEMPTS_MAX)
