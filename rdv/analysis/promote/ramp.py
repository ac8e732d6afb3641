"""Carry a promotion out in stages: a cohort with the challenger's schedule, which grows.

What a stage has reached is in the decision's files and in `.rdv/ramp.json`, so that a ramp that was
interrupted can be continued, or taken back, by another process.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Literal

from rdv.analysis.charts.format import share
from rdv.analysis.errors import NothingRecorded
from rdv.analysis.promote.behaviour import Expected
from rdv.analysis.promote.carry_out import Watch, make_live, note_promotion, take_back
from rdv.analysis.promote.proposal import Proposal
from rdv.analysis.promote.result import Judgement, Stage, Switched
from rdv.analysis.promote.watch import Bounds
from rdv.decision import Decision, load_decision
from rdv.decision.accepted import allow_schedule, errors_of
from rdv.decision.edit import add_schedule, remove_cohort, remove_schedule, set_cohort
from rdv.decision.holder import holder_of
from rdv.decision.ramp import Ramp, forget_ramp, ramp_share, write_ramp
from rdv.decision.schedules import read_schedule_text
from rdv.decision.switch import await_processes, switch_cohort
from rdv.errors import NotUsable
from rdv.rendezvous.schedule import Schedule, schedule_from_toml

WHOLE = 1.0
TURN_S = 1.0
LOOK_FACTOR = 1.5
"""How many times as many requests as at its last look the gate wants at the next one."""
MORE_MIN = 0.1
"""At least how many more, as a share of `requests_min`, are waited for before they are counted."""
STRANGERS_MIN = 20
"""How many requests a cohort should have had before it is said that it gets none."""


@dataclass(frozen=True)
class Pace:
    """When a stage may end, in seconds; `max_s` None: only with a verdict."""

    min_s: float
    max_s: float | None = None
    looks: int = 10
    """How often the gate judges a stage, at most."""
    requests_min: int = 1000
    accepts: tuple[str, ...] = ("pass",)
    """The verdicts that are enough."""
    by_time: bool = False
    """Whether the gate is not asked (--force)."""


def ramp_text(ramp: Ramp) -> str:
    """Return the text of the schedule that the cohort gets."""
    return (
        f"# {ramp.challenger} in place of {ramp.champion}: written by rdv promote --ramp, which "
        f"removes it.\n{ramp.new}"
    )


def ramp_schedule(ramp: Ramp) -> Schedule:
    """Return the schedule that the cohort gets."""
    return schedule_from_toml(ramp_text(ramp), ramp.name)


def proposal_of(decision: Decision, ramp: Ramp) -> Proposal:
    """Return what the ramp carries out, from its recorded texts."""
    path = decision.schedule_path(ramp.schedule)
    before, after = (schedule_from_toml(text, ramp.schedule, path) for text in (ramp.old, ramp.new))
    return Proposal(ramp.champion, ramp.challenger, before, after, path, ramp.old, ramp.new)


def share_now(directory: str, ramp: Ramp) -> float:
    """Return the share of the keys that get the challenger's schedule, as the files are.

    Raises NotUsable if the live schedule was edited meanwhile, or another one is live.
    """
    decision = load_decision(directory, {})
    path = decision.schedule_path(ramp.schedule)
    text = read_schedule_text(path)
    if text == ramp.new:
        return WHOLE
    if text != ramp.old or decision.schedule != ramp.schedule:
        reason = "the live schedule has been changed since the ramp began"
        raise NotUsable(path, reason, f"Take the ramp back: rdv promote {directory} --abort")
    return ramp_share(decision, ramp)


def undo(decision: Decision, ramp: Ramp, reason: str) -> Switched:
    """Take a ramp back: the old champion gets all keys. May be repeated after an interruption.

    Raises EditRefused, DecisionBusy, NotLive, SystemFaults.
    """
    write_ramp(decision.directory, ramp.replace(undo=reason))
    proposal = proposal_of(decision, ramp)
    switched = Switched(None)
    if read_schedule_text(proposal.path) == ramp.new:
        switched = take_back(decision, proposal, reason)
    else:
        text = f"the ramp to {ramp.challenger} is taken back: {reason}"
        note_promotion(decision, proposal, "rolled_back", text)
    took_ms = _drop_cohort(decision, ramp)
    forget_ramp(decision.directory)
    return switched if switched.took_ms is not None else Switched(took_ms)


def _drop_cohort(decision: Decision, ramp: Ramp) -> float | None:
    """Remove the cohort, then its schedule, once no process gives a request to it any more."""
    directory = decision.directory
    is_served = holder_of(directory) is not None
    took_ms = None
    if ramp.name in load_decision(directory, {}).cohorts.groups:

        def write() -> None:
            remove_cohort(directory, ramp.name)

        if is_served:
            took_ms = switch_cohort(decision, ramp.name, None, write)
        else:
            write()
    if is_served:
        await_processes(decision)
    remove_schedule(directory, ramp.name, ramp_text(ramp))
    return took_ms


class Climb:
    """Carries a ramp out, stage by stage. For one thread, and one process at a time (`ramp_lock`).

    `judge` gives the gate's verdict on the traffic of the present stage; `tell` gets a line for
    each event, `progress` the stage's share and its watch.
    """

    def __init__(
        self,
        decision: Decision,
        ramp: Ramp,
        stages: tuple[float, ...],
        pace: Pace,
        limits: tuple[Bounds, Expected],
        *,
        judge: Callable[[Ramp], tuple[Judgement, int]],
        tell: Callable[[str], None],
        progress: Callable[[float, Watch], None],
    ) -> None:
        self._decision, self.ramp, self._stages, self._pace = decision, ramp, stages, pace
        self._limits, self._judge, self._tell, self._progress = limits, judge, tell, progress
        self._proposal = proposal_of(decision, ramp)
        self.stepped_back = ""
        self.switched: Switched | None = None

    def run(self) -> Iterator[Stage]:
        """Yield the stages as they end; the last is the whole, or the one that stepped back.

        Raises EditRefused, DecisionBusy, NotLive, NotUsable, and what `judge` raises: then the ramp
        stays where it is.
        """
        now = share_now(self._decision.directory, self.ramp)
        left = [one for one in self._stages if one >= now] or [WHOLE]
        if now and now not in left:
            left = [now, *left]
        for one in left:
            with self._watch(one) as watch:
                self._enter(one)
                found = self._stage(one, watch)
            if found.ended == "back":
                self.stepped_back = f"at {share(one)} of the keys: {found.text}"
                self.switched = undo(self._decision, self.ramp, found.text)
            yield found
            if self.stepped_back:
                return
        forget_ramp(self._decision.directory)

    def _watch(self, stage: float) -> Watch:
        proposal = self._proposal
        if stage < WHOLE:
            proposal = replace(proposal, after=ramp_schedule(self.ramp))
        return Watch(self._decision, proposal, *self._limits)

    def _enter(self, stage: float) -> None:
        """Put a stage in force; it is continued if it is in force already."""
        directory, ramp = self._decision.directory, self.ramp
        if stage < WHOLE:
            self._add_schedule()
            if share_now(directory, ramp) != stage:

                def write() -> None:
                    set_cohort(directory, ramp.name, stage, ramp.name)

                switch_cohort(self._decision, ramp.name, stage, write)
        else:
            if share_now(directory, ramp) < WHOLE:
                self.switched = make_live(self._decision, self._proposal)
            _drop_cohort(self._decision, ramp)
        if ramp.share != stage:
            self.ramp = ramp.replace(share=stage, began_ns=time.time_ns(), looks=0)
            write_ramp(directory, self.ramp)
            text = f"{share(stage)} of the keys: {self.ramp.challenger} is the champion"
            note_promotion(self._decision, self._proposal, "ramp_changed", text)
            self._tell(text)
        else:
            self._tell(f"continued at {share(stage)} of the keys")

    def _add_schedule(self) -> None:
        """Make the cohort's schedule known to every process before a request names it."""
        directory, schedule = self._decision.directory, ramp_schedule(self.ramp)
        if ramp_share(load_decision(directory, {}), self.ramp):
            return
        if errors_of(schedule, self._decision):
            allow_schedule(directory, schedule)
        add_schedule(directory, self.ramp.name, ramp_text(self.ramp))
        await_processes(self._decision)

    def _stage(self, stage: float, watch: Watch) -> Stage:
        """Watch a stage until it may end, or has to."""
        ended = _Ended(stage, watch)
        judged_at, wanted, is_told = 0, 0.0, False
        while True:
            if breaches := watch.follow(TURN_S, lambda _: self._progress(stage, watch)):
                return ended("back", "; ".join(one.text() for one in breaches), self.ramp)
            answers = watch.period.answers
            is_strange = stage < WHOLE and not answers and watch.seen * stage > STRANGERS_MIN
            if is_strange and not is_told:
                is_told = True
                self._tell("no request has come to the cohort: only those with a key are in it")
            spent_s = (time.time_ns() - self.ramp.began_ns) / 1e9
            if spent_s < self._pace.min_s:
                continue
            if self._pace.by_time:
                return ended("time", f"{spent_s:.0f} s without a broken limit", self.ramp)
            if answers - judged_at >= wanted:
                judgement, both = self._look(stage)
                judged_at, wanted = answers, self._until_next(both)
                if found := self._verdict(ended, judgement, both):
                    return found
            if self._pace.max_s is not None and spent_s >= self._pace.max_s:
                return ended("time", f"{spent_s:.0f} s without a broken limit", self.ramp)

    def _until_next(self, both: int) -> int:
        """Return how many more answers the next look needs."""
        least = self._pace.requests_min
        if both < least:
            return max(least - both, math.ceil(least * MORE_MIN))
        return math.ceil(both * (LOOK_FACTOR - 1))

    def _look(self, stage: float) -> tuple[Judgement | None, int]:
        """Ask the gate; that counts as a look where there is enough to be judged."""
        try:
            judgement, both = self._judge(self.ramp)
        except NothingRecorded:
            return None, 0
        if both < self._pace.requests_min:
            return None, both
        self.ramp = self.ramp.replace(looks=self.ramp.looks + 1)
        write_ramp(self._decision.directory, self.ramp)
        of = f"look {self.ramp.looks} of {self._pace.looks}"
        text = f"{share(stage)} of the keys, {both:,} requests: {judgement.verdict} ({of})"
        self._tell(f"{text}{_because(judgement)}")
        return judgement, both

    def _verdict(self, ended: _Ended, judgement: Judgement | None, both: int) -> Stage | None:
        """Return the end of the stage if the gate's verdict is one; else None."""
        if judgement is None:
            return None
        if judgement.verdict in self._pace.accepts:
            text = f"the gate says {judgement.verdict} on {both:,} requests"
            return ended("passed", text, self.ramp)
        if judgement.is_worse:
            return ended("back", "; ".join(judgement.broken()), self.ramp)
        if self.ramp.looks >= self._pace.looks:
            text = f"the gate has not passed at {self.ramp.looks} looks{_because(judgement)}"
            return ended("back", text, self.ramp)
        return None


@dataclass(frozen=True)
class _Ended:
    """Makes the result of a stage."""

    share: float
    watch: Watch

    def __call__(self, how: Literal["passed", "time", "back"], text: str, ramp: Ramp) -> Stage:
        return Stage(self.share, self.watch.period.answers, ramp.looks, how, text)


def _because(judgement: Judgement) -> str:
    broken = judgement.broken()
    return f": {broken[0]}" if broken else ""
