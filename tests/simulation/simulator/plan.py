"""Describe a run as data: topology, requests, faults. A plan is made from a seed alone."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from simulator.scheduler import MS

MODELS = ("gbm", "logit", "rules", "net", "knn")
EXECUTION, HOSTILE, MOVED, JUDGED = 0x5EED, 0xBAD, 0xD1B, 0x1D6E
HOSTILE_SHARE = 0.2
JUDGED_SHARE = 0.15
MOVED_SHARE = 0.06
"""The share of plans with a moved stream. EXECUTION seeds another generator for a run, so that a
plan can be cut without other random choices.
"""


@dataclass(frozen=True)
class ModelSpec:
    """Describe how a model behaves."""

    name: str
    instances: int = 1
    fixed_ms: float = 1.0
    row_ms: float = 0.1
    tail: float = 0.0
    """The share of batches that take twenty times as long."""
    error: float = 0.0
    nan: float = 0.0
    bad_input: float = 0.0
    """The share of rows of which it says that the input is invalid."""
    crash: float = 0.0
    hang: float = 0.0
    batch_max: int = 8
    when_behind: str = "skip"
    takes: str = "data"
    load_ms: int = 20
    failed_starts: int = 0
    sample: float = 1.0
    batch_wait_ms: float = 0.0
    poison: frozenset[int] = frozenset()
    """The requests that end its process, every time."""


@dataclass(frozen=True)
class Arrival:
    """Describe a client's request: when it comes, and to which proxy."""

    at_ns: int
    number: int
    proxy: int
    key: str | None = None
    schedule: str | dict[str, Any] | None = None
    deadline_ms: float | None = None
    models: tuple[str, ...] | None = None
    """The only models to ask; None for all."""


@dataclass(frozen=True)
class Fault:
    """Describe a fault, at a time or, with `step`, at the n-th operation of process `target`."""

    kind: str
    target: str = ""
    at_ns: int = 0
    step: int = 0
    duration_ns: int = 0
    what: Any = None

    def __str__(self) -> str:
        when = f"step {self.step}" if self.step else f"{self.at_ns / MS:.3f} ms"
        length = f" for {self.duration_ns / MS:.1f} ms" if self.duration_ns else ""
        return f"{when}: {self.kind} {self.target}{length}".rstrip()


@dataclass(frozen=True)
class Plan:
    """Describe one run. `repr` shows all of it."""

    seed: int
    partitions: int
    servers: int
    proxies: tuple[int, ...]
    """The machine of each proxy. Everything else runs on machine 0."""
    models: tuple[ModelSpec, ...]
    schedules: dict[str, Any]
    arrivals: tuple[Arrival, ...]
    faults: tuple[Fault, ...] = ()
    live: str = "live"
    shares: dict[str, float] = field(default_factory=dict)
    """The share of each cohort, whose name is that of its schedule."""
    is_broker: bool = False
    """Whether a record is seen some time after its acknowledgement, each partition by itself."""
    in_flight_max: int = 1_000
    client_share: float = 1.0
    default_when_full: bool = False
    mailboxes_max: int = 1_000
    preempted: float = 0.01
    """The share of operations at which the process loses the processor for a while."""
    predict_timeout_ms: int = 150

    @property
    def length_ns(self) -> int:
        """Return the time of the last request or the end of the last fault, whichever is later."""
        ends = [a.at_ns for a in self.arrivals] + [f.at_ns + f.duration_ns for f in self.faults]
        return max(ends, default=0)

    def describe(self) -> Iterator[str]:
        hosts = f"{len(self.proxies)} proxies on machines {list(self.proxies)}"
        yield (
            f"seed {self.seed}: {self.partitions} partitions, {self.servers} servers, {hosts}, "
            f"{len(self.arrivals)} requests{', a broker' if self.is_broker else ''}"
        )
        yield from (f"  {model}" for model in self.models)
        yield from (f"  schedule {name}: {content}" for name, content in self.schedules.items())
        yield f"  client_share {self.client_share}, preempted {self.preempted}"
        yield f"  in_flight_max {self.in_flight_max}, mailboxes_max {self.mailboxes_max}"
        yield from (f"  fault {fault}" for fault in self.faults)


def make_plan(seed: int, requests: int = 12) -> Plan:
    """Make the plan of a seed."""
    chance = random.Random(seed)
    is_large = chance.random() < 0.25  # a small world finds as many bugs, and costs half as much
    names = list(MODELS[: chance.randint(2, 5 if is_large else 3)])
    several = [1, 2, 3] if is_large else [1, 1, 1, 1, 2]
    models = tuple(_model(chance, name, chance.choice(several)) for name in names)
    partitions = chance.choice([1, 1, 2, 3, 4])
    servers = min(chance.choice([1, 2, 3] if is_large else [1, 1, 1, 2]), partitions)
    count = chance.choice([1, 2, 3] if is_large else [1, 1, 1, 2])
    proxies = tuple(chance.choice([0, 0, 0, 1]) for _ in range(count))
    schedules = {
        "live": _schedule(chance, names),
        "other": _schedule(chance, names),
    }
    shares = {}
    if chance.random() < 0.3:
        schedules["b"] = _schedule(chance, names)
        shares = {"b": chance.choice([0.1, 0.5])}
    length_ns = chance.choice([60, 60, 200, 1_000]) * MS
    arrivals = tuple(_arrivals(chance, requests, length_ns, len(proxies), names))
    plan = Plan(
        seed,
        partitions,
        servers,
        proxies,
        models,
        schedules,
        arrivals,
        shares=shares,
        is_broker=chance.random() < 0.15,
        in_flight_max=chance.choice([4, 1_000, 1_000]),
        default_when_full=chance.random() < 0.5,
        mailboxes_max=chance.choice([3, 1_000, 1_000, 1_000]),
        preempted=chance.choice([0.0, 0.01, 0.05]),
    )
    faults = tuple(_faults(chance, plan, length_ns)) if chance.random() < 0.93 else ()
    return _judged(_moved(_hostile(replace(plan, faults=faults), length_ns), length_ns))


def _model(chance: random.Random, name: str, instances: int) -> ModelSpec:
    trouble = chance.random() < 0.3
    return ModelSpec(
        name,
        instances,
        chance.choice([0.2, 1.0, 5.0, 15.0, 40.0]),
        chance.choice([0.01, 0.1, 1.0]),
        chance.choice([0.0, 0.0, 0.05]),
        error=chance.choice([0.02, 0.5, 1.0]) if trouble and chance.random() < 0.5 else 0.0,
        nan=0.1 if trouble and chance.random() < 0.3 else 0.0,
        crash=chance.choice([0.02, 0.3]) if trouble and chance.random() < 0.4 else 0.0,
        hang=0.03 if trouble and chance.random() < 0.4 else 0.0,
        batch_max=chance.choice([1, 4, 64]),
        when_behind="all" if chance.random() < 0.15 else "skip",
        takes=chance.choice(["data", "data", "values", "lines"]),
        load_ms=chance.choice([5, 50, 300]),
        failed_starts=chance.choice([0, 0, 0, 0, 0, 0, 0, 1, 4]),
        sample=chance.choice([1.0] * 7 + [0.5]),
        batch_wait_ms=chance.choice([0.0, 0.0, 0.0, 3.0]),
    )


def _schedule(chance: random.Random, names: list[str]) -> dict[str, Any]:
    order = chance.sample(names, len(names))
    sla_ms = chance.choice([10, 25, 50, 50, 90])
    kind = chance.choice(["broaden", "broaden", "fast", "quorum", "fraction", "champion", "any"])
    first_ms, second_ms = sla_ms * 0.5, sla_ms * 0.8
    steps: list[dict[str, Any]]
    if kind == "broaden":
        steps = [
            {"until_ms": first_ms, "accept": order[:1]},
            {"until_ms": second_ms, "accept": order[:2]},
            {"accept": ["*"]},
        ]
    elif kind == "fast":
        steps = [{"until_ms": 3, "accept": order[:1]}, {"accept": [*order[1:2], "*"]}]
    elif kind == "quorum":
        need = chance.choice([2, "all"])
        how = chance.choice(["best", "mean", "vote", "topk"])
        step = {"until_ms": second_ms, "accept": order[:3], "need": need, "combine": how}
        if how == "vote":
            step["on"] = "parity"
        elif how == "topk":
            step |= {"on": "top", "top": 2}
        steps = [step, {"accept": ["*"]}]
    elif kind == "fraction":
        steps = [{"accept": ["*"], "need": chance.choice([0.5, 0.8]), "combine": "median"}]
    elif kind == "champion":
        steps = [{"accept": order[:1]}]
    else:
        steps = [{"accept": ["*"]}]
    if chance.random() < 0.1:
        steps[-1]["until_ms"] = sla_ms * 0.9  # gives up early
    return {"sla_ms": sla_ms, "default": {"score": 0, "by": "default"}, "step": steps}


def _arrivals(
    chance: random.Random, count: int, length_ns: int, proxies: int, names: list[str]
) -> Iterator[Arrival]:
    at_ns = 0
    is_bursty = chance.random() < 0.4
    for number in range(count):
        at_ns += int(chance.expovariate(1) * length_ns / count) if not is_bursty else 0
        if is_bursty and chance.random() < 0.2:
            at_ns += int(chance.random() * length_ns * 5 / count)
        schedule: str | dict[str, Any] | None = None
        dice = chance.random()
        if dice < 0.1:
            schedule = "other"
        elif dice < 0.2:
            schedule = _schedule(chance, names)
        elif dice < 0.22:
            schedule = "unknown"
        key = f"k{chance.randrange(6)}" if chance.random() < 0.7 else None
        deadline_ms = chance.choice([1.0, 8.0, 20.5, 500.0]) if chance.random() < 0.15 else None
        models = tuple(chance.sample(names, 1)) if chance.random() < 0.05 else None
        proxy = chance.randrange(proxies)
        yield Arrival(at_ns, number, proxy, key, schedule, deadline_ms, models)


def _faults(chance: random.Random, plan: Plan, length_ns: int) -> Iterator[Fault]:
    servers = [f"server-{n}" for n in range(plan.servers)]
    workers = [f"{m.name}-{n}" for m in plan.models for n in range(m.instances)]
    proxies = [f"p-{8100 + n}" for n in range(len(plan.proxies))]
    everybody = [*servers, *servers, *workers, *proxies]
    kinds = chance.sample(list(_KINDS), chance.randint(1, 4))
    for _ in range(chance.choice([1, 2, 3, 5, 8])):
        kind = chance.choice(kinds)
        at_ns = int(chance.uniform(-0.02, 1.0) * length_ns)
        target, step, duration_ns, what = "", 0, 0, None
        if kind in ("kill", "pause", "lose rings", "wake"):
            target = chance.choice(everybody)
            if kind in ("kill", "pause") and chance.random() < 0.6:
                step = chance.choice([chance.randint(1, 40), chance.randint(20, 300)])
        if kind in ("pause", "lose rings", "disk full", "disk half", "slow"):
            duration_ns = int(chance.choice([2, 15, 80, 400]) * MS * chance.uniform(0.5, 1.5))
        if kind == "pause" and chance.random() < 0.2:
            duration_ns = 3_000 * MS  # longer than a group's session timeout
        if kind in ("disk full", "disk half"):
            target = chance.choice(["*", "*", "input", "scores", "results", "control"])
        elif kind == "slow":
            target, what = chance.choice(plan.models).name, chance.choice([0.1, 4.0, 30.0])
        elif kind == "edit":
            what = _schedule(chance, [m.name for m in plan.models])
        elif kind == "clock":
            target = str(chance.choice([0, 0, 1]))
            what = chance.choice([-1, 1]) * chance.choice([5, 80, 3_000, 60_000]) * MS
        elif kind in ("leave", "replace"):
            target = chance.choice(plan.models).name
            duration_ns = int(length_ns * 0.6)
        yield Fault(kind, target, at_ns, step, duration_ns, what)


def _hostile(plan: Plan, length_ns: int) -> Plan:
    """Add later kinds of faults from their own generator: other seeds keep their plans."""
    chance = random.Random(plan.seed ^ HOSTILE)
    if chance.random() >= HOSTILE_SHARE:
        return plan
    faults = tuple(_hostile_faults(chance, plan, length_ns))
    if any(fault.kind == "greedy" for fault in faults):
        places = chance.choice([4, 6, 10])
        plan = replace(plan, in_flight_max=places, client_share=chance.choice([0.5, 0.75]))
    return replace(plan, faults=(*plan.faults, *faults))


def _hostile_faults(chance: random.Random, plan: Plan, length_ns: int) -> Iterator[Fault]:
    kind = chance.choice(_HOSTILE_KINDS)
    for _ in range(chance.choice([1, 1, 2, 4])):
        target = chance.choice(["input", "input", "scores", "scores", "results", "control"])
        at_ns, duration_ns = int(chance.uniform(0, 1.0) * length_ns), 0
        if kind == "greedy":
            target = f"p-{8100 + chance.randrange(len(plan.proxies))}"
            duration_ns = int(chance.choice([1, 5, 30]) * MS * chance.uniform(0.5, 1.5))
            at_ns = chance.choice([0, at_ns])
        elif kind == "lock":
            target = chance.choice(["input", "input", "scores", "results"])
            duration_ns = int(chance.choice([2, 15, 80, 400]) * MS * chance.uniform(0.5, 1.5))
        yield Fault(kind, target, at_ns, duration_ns=duration_ns)


def _moved(plan: Plan, length_ns: int) -> Plan:
    """Add faults that replace directories of a stream in real files, from their own generator."""
    chance = random.Random(plan.seed ^ MOVED)
    if chance.random() >= MOVED_SHARE:
        return plan
    stream = chance.choice(["input", "input", "scores", "results"])
    moves = [
        Fault(
            "move", stream, int(chance.uniform(0, 1.0) * length_ns),
            what=chance.choice(["topic", "partition", "empty"]),
        )
        for _ in range(chance.choice([1, 1, 2]))
    ]  # fmt: skip
    kept = [fault for fault in plan.faults if fault.kind != "damage" or fault.target != stream]
    return replace(plan, faults=(*kept, *moves), is_broker=False)


def _judged(plan: Plan) -> Plan:
    """Let models call input invalid, and schedules believe some, from their own generator."""
    chance = random.Random(plan.seed ^ JUDGED)
    if chance.random() >= JUDGED_SHARE:
        return plan
    names = [model.name for model in plan.models]
    models = tuple(replace(m, bad_input=chance.choice([0.0, 0.1, 0.5])) for m in plan.models)

    def judged(schedule: Any) -> Any:
        if not isinstance(schedule, dict) or chance.random() < 0.2:
            return schedule
        return {**schedule, "input_judges": chance.sample(names, chance.randint(1, len(names)))}

    return replace(
        plan,
        models=models,
        schedules={name: judged(schedule) for name, schedule in plan.schedules.items()},
        arrivals=tuple(replace(a, schedule=judged(a.schedule)) for a in plan.arrivals),
        faults=tuple(
            replace(f, what=judged(f.what)) if f.kind == "edit" else f for f in plan.faults
        ),
    )


_HOSTILE_KINDS = ("damage", "greedy", "lock")

_KINDS = (
    "kill", "kill", "pause", "disk full", "disk half", "lose rings", "wake", "slow", "edit",
    "clock", "leave", "leave", "replace",
)  # fmt: skip
