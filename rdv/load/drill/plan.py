"""Plan which faults hit which parts of a decision, in which order, and how long it takes. Pure."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, get_args

from rdv.errors import DataFault, InputFault, SystemFault


class InvalidDrill(InputFault):
    """A setting of a drill, or a decision, cannot be used."""

    key: str
    reason: str
    advice: str = ""

    _text = "{key}: {reason}"

    def hint(self) -> str:
        return self.advice


class CopyNotServed(SystemFault):
    """The copy does not come up, or has ended; `output` is the last line of its output."""

    reason: str
    output: str

    def text(self) -> str:
        return f"the copy of the decision {self.reason}" + (
            f": {self.output}" if self.output else ""
        )

    _hint = "Check whether the decision itself starts: rdv serve DIR"


class PromiseBroken(DataFault):
    """The drill has found promises that were not kept, one sentence each."""

    broken: tuple[str, ...]

    def text(self) -> str:
        return "; ".join(self.broken)

    _hint = "Run the same drill with --keep, and look at the streams of the copy."


Fault = Literal[
    "kill", "stop", "slow", "corrupt", "lock", "clock", "sector", "missing",
    "overload", "greedy", "replace", "disk",
]  # fmt: skip
"""What is done to a part, or to the decision as a whole.

- kill: SIGKILL. stop: SIGSTOP, later SIGCONT. slow: the process is stopped for 4/5 of the time.
- corrupt: garbage in the streams that the part writes, flipped bytes in what it has written.
- lock: another process holds the locks of the partitions and the group that the part uses.
- clock: records with times a year ahead and an hour behind in what the part writes; it restarts.
- sector: 512 bytes of an index that the part has written are written over 512 others of it.
- missing: a values file that the part has written is deleted.
- overload: five times the rate.
- greedy: one client takes all the connections and requests in flight that it can get, and leaves.
- replace: the directories of schedules and models are replaced by rename, then a schedule edited.
- disk: no process can write to a file, then all can.
"""

FAULTS: tuple[Fault, ...] = get_args(Fault)
WHOLE: frozenset[Fault] = frozenset(("overload", "greedy", "replace", "disk"))
"""Faults of the decision as a whole; all other faults hit one part."""

OF_FILES: frozenset[Fault] = frozenset(("sector", "missing"))
"""Faults of files that a part has written; not a server's: results are the drill's evidence."""

MOMENTARY: frozenset[Fault] = frozenset(("kill", "replace"))
"""Faults that are over at once; all others last (or are watched) for `Pace.hold_s`."""

HITS_THE_PROCESS: frozenset[Fault] = frozenset(("kill", "stop", "slow", "clock"))
"""Faults by which a proxy loses or delays its requests in flight."""

EVERYTHING = "everything"
OVERLOAD_FACTOR = 5
START_S, STOP_S = 6.0, 3.0
TYPICAL_RECOVERY_S = 1.0
REQUESTS_MAX = 5_000_000
"""The maximum number of requests; a drill keeps the outcome of each one in memory."""

Role = Literal["server", "worker", "proxy", "mlflow", "all"]


class Target(NamedTuple):
    """A part that a fault can hit."""

    name: str
    role: Role
    model: str = ""
    scores: bool = True
    """Whether it reports scores; a decoy does not."""


class Exercise(NamedTuple):
    """One fault on one part."""

    fault: Fault
    target: Target

    def __str__(self) -> str:
        return f"{self.fault} {self.target.name}"


@dataclass(frozen=True)
class Pace:
    """How many seconds each part of an exercise takes."""

    before_s: float = 2.0
    """Time without a fault, to measure the usual mix."""
    hold_s: float = 2.0
    """How long a fault that does not heal by itself lasts."""
    after_s: float = 1.0
    """Time without a fault, once the mix is back."""
    recovery_s_max: float = 30.0
    """How long to wait for the mix before the recovery counts as failed."""


QUICK = Pace(before_s=0.7, hold_s=0.7, after_s=0.3, recovery_s_max=20.0)


@dataclass(frozen=True)
class DrillPlan:
    """The exercises of a drill, in order."""

    exercises: tuple[Exercise, ...]
    pace: Pace
    rate: float

    @property
    def seconds(self) -> float:
        """About how many seconds the drill takes if the decision recovers as it should."""
        pace = self.pace
        each = pace.before_s + pace.after_s + TYPICAL_RECOVERY_S
        held = sum(pace.hold_s for exercise in self.exercises if holds(exercise.fault))
        return START_S + len(self.exercises) * each + held + STOP_S

    @property
    def seconds_max(self) -> float:
        """How many seconds the drill takes at most, if nothing ever recovers."""
        more = self.pace.recovery_s_max - TYPICAL_RECOVERY_S
        return self.seconds + len(self.exercises) * more

    @property
    def requests_max(self) -> int:
        """The maximum number of requests that the drill may send."""
        overload_s = self.pace.hold_s if any(e.fault == "overload" for e in self.exercises) else 0
        return int(self.rate * (self.seconds_max + (OVERLOAD_FACTOR - 1) * overload_s))


def holds(fault: Fault) -> bool:
    """Return whether the fault lasts, or is watched, for a while."""
    return fault not in MOMENTARY


def plan_drill(
    targets: Sequence[Target],
    champions: Collection[str],
    faults: Collection[str],
    rate: float,
    *,
    quick: bool = False,
) -> DrillPlan:
    """Plan every fault on each part in turn; of a model's or the proxies' instances only the first
    is hit.

    `champions` are the models that the live schedule's first step accepts. A quick drill hits one
    server, one proxy and one champion only, and waits less. Raises InvalidDrill.
    """
    if unknown := [fault for fault in faults if fault not in FAULTS]:
        raise InvalidDrill("faults", f"there is no {unknown[0]!r}, only {', '.join(FAULTS)}")
    if not faults:
        raise InvalidDrill("faults", "none is named")
    chosen = _quick_ones(targets, champions) if quick else _first_ones(targets)
    everything = Target(EVERYTHING, "all")
    exercises = [
        Exercise(fault, target)
        for fault in FAULTS
        if fault in faults
        for target in ([everything] if fault in WHOLE else chosen)
        if not (fault in OF_FILES and (target.role == "server" or not target.scores))
    ]
    plan = DrillPlan(tuple(exercises), QUICK if quick else Pace(), rate)
    if plan.requests_max > REQUESTS_MAX:
        reason = f"up to {plan.requests_max:,} requests are too many to keep in memory"
        advice = f"At most {REQUESTS_MAX:,}: a lower rate, or fewer faults."
        raise InvalidDrill("rate", reason, advice)
    return plan


def _first_ones(targets: Sequence[Target]) -> list[Target]:
    """Return the first target of each role and model."""
    found: dict[tuple[str, str], Target] = {}
    for target in targets:
        found.setdefault((target.role, target.model), target)
    return list(found.values())


def _quick_ones(targets: Sequence[Target], champions: Collection[str]) -> list[Target]:
    first = _first_ones(targets)
    workers = [target for target in first if target.role == "worker"]
    champion = [target for target in workers if target.model in champions] or workers
    return [target for target in first if target.role != "worker" or target in champion[:1]]
