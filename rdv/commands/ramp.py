"""The part of `rdv promote` that goes in stages: --ramp and --abort."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from rdv.commands.errors import InvalidOption
from rdv.commands.output import Output, Progress
from rdv.commands.registry import take_back
from rdv.commands.units import parse_duration_ns

if TYPE_CHECKING:
    from rdv.analysis.promote.behaviour import Expected
    from rdv.analysis.promote.carry_out import Watch
    from rdv.analysis.promote.result import Judgement, Promotion
    from rdv.analysis.promote.watch import Bounds
    from rdv.decision import Decision, Gate
    from rdv.decision.ramp import Ramp


_ENDED = {"passed": "passed", "time": "its time is over", "back": "taken back"}


@dataclass(frozen=True)
class Stages:
    """The stages of a ramp: shares of the keys, up to 1, and how long each lasts, in seconds."""

    shares: tuple[float, ...]
    min_s: float
    max_s: float | None


@dataclass(frozen=True)
class Asked:
    """What the gate is asked in each stage, and which verdict is enough."""

    limits: Gate
    accept: str
    on: str | None
    canary: str | None
    force: bool


def read_stages(
    text: str | None, stage_min: str, stage_max: str | None, watch: str | None
) -> Stages | None:
    """Read the options of a ramp; None without one. Raises InvalidOption, InvalidQuantity."""
    if text is None:
        return None
    if watch is not None:
        raise InvalidOption("--watch", "a ramp watches every stage; give --ramp or --watch")
    shares = []
    for part in text.split(","):
        try:
            share = float(part.strip().removesuffix("%")) / 100 if "%" in part else 0.0
        except ValueError:
            share = 0.0
        if not 0 < share <= 1:
            raise InvalidOption(f"--ramp {text}", f"{part!r} is not a share, such as 10%")
        shares.append(share)
    if sorted(set(shares)) != shares or shares[-1] != 1:
        raise InvalidOption(f"--ramp {text}", "the shares must grow, and end with 100%")
    min_s = parse_duration_ns(stage_min) / 1e9
    max_s = None if stage_max is None else parse_duration_ns(stage_max) / 1e9
    if max_s is not None and max_s < min_s:
        raise InvalidOption(f"--stage-max {stage_max}", f"is shorter than --stage-min {stage_min}")
    return Stages(tuple(shares), min_s, max_s)


def carry_ramp_out(
    decision: Decision,
    found: Promotion,
    begun: Ramp | None,
    stages: Stages,
    watching: tuple[Bounds, Expected],
    asked: Asked,
    output: Output,
) -> Promotion:
    """Begin a ramp, or continue the one that has `begun`; return how it has ended."""
    from rdv.analysis.charts.format import share
    from rdv.analysis.promote.ramp import Climb, Pace
    from rdv.decision.ramp import Ramp, ramp_lock, read_ramp, write_ramp
    from rdv.errors import NotUsable

    proposal, limits = found.proposal, asked.limits
    with ramp_lock(decision.directory):
        if read_ramp(decision.directory) != begun:
            begun = read_ramp(decision.directory)
        if begun is not None and begun.challenger != proposal.challenger:
            reason = f"a ramp of {begun.challenger} has begun meanwhile"
            raise NotUsable(proposal.challenger, reason, "Wait for its end: rdv status.")
        if begun is not None and begun.undo:
            return _finish_undo(decision, found, begun, output)
        ramp = begun or Ramp(
            champion=proposal.champion,
            challenger=proposal.challenger,
            schedule=proposal.before.name,
            old=proposal.old,
            new=proposal.new,
        )
        if begun is None:
            _check_new(decision, ramp, stages)
            write_ramp(decision.directory, ramp)
        accepts = ("pass", asked.accept)
        pace = Pace(
            stages.min_s, stages.max_s, limits.looks, limits.requests_min, accepts, asked.force
        )
        shown = _Shown(output)
        climb = Climb(
            decision, ramp, stages.shares, pace, watching,
            judge=lambda ramp: _judge(decision, found, ramp, asked), tell=shown.note,
            progress=shown.advance,
        )  # fmt: skip
        done = []
        try:
            for stage in climb.run():
                done.append(stage)
                shown.note(f"{share(stage.share)} of the keys: {_ENDED[stage.ended]}: {stage.text}")
        except BaseException:
            shown.note(_where(decision, climb.ramp))
            raise
        finally:
            shown.close()
        if climb.stepped_back:
            output.note(f"stepped back: {proposal.champion} is the champion of all keys")
        return replace(
            found,
            switched=climb.switched,
            stages=tuple(done),
            stepped_back=climb.stepped_back,
        )


def abort_ramp(decision: Decision, model: str | None, output: Output) -> None:
    """Take a ramp back. Raises NotUsable without one, RampBusy while another process is at it."""
    from rdv.analysis.promote.ramp import undo
    from rdv.decision.ramp import ramp_lock, read_ramp
    from rdv.decision.schedules import read_schedule_text
    from rdv.errors import NotUsable

    with ramp_lock(decision.directory):
        ramp = read_ramp(decision.directory)
        if ramp is None or model not in (None, ramp.challenger):
            what = "no ramp" if ramp is None else f"no ramp of {model}: that of {ramp.challenger}"
            raise NotUsable(decision.directory, f"{what} has begun")
        undo(decision, ramp, "it was aborted")
        take_back(decision, ramp.champion, ramp.challenger, "it was aborted", output)
        is_old = read_schedule_text(decision.schedule_path(ramp.schedule)) == ramp.old
    if output.as_json:
        output.json({"aborted": ramp.challenger, "champion": ramp.champion, "share": ramp.share})
        return
    rest = (
        f"{ramp.champion} is the champion of all keys"
        if is_old
        else f"the schedule {ramp.schedule} was edited meanwhile, and stays as it is"
    )
    output.text(f"the ramp of {ramp.challenger} is taken back: {rest}")


def _finish_undo(decision: Decision, found: Promotion, ramp: Ramp, output: Output) -> Promotion:
    """End the way back that was interrupted."""
    from rdv.analysis.promote.ramp import undo

    switched = undo(decision, ramp, ramp.undo)
    output.note(f"stepped back: {ramp.champion} is the champion of all keys")
    return replace(found, switched=switched, stepped_back=ramp.undo)


def _check_new(decision: Decision, ramp: Ramp, stages: Stages) -> None:
    """Raise NotUsable if the stages do not fit beside the cohorts that there are."""
    from rdv.errors import NotUsable

    groups = decision.cohorts.groups
    if ramp.name in groups or ramp.name == ramp.schedule:
        advice = "Remove it from rdv.toml, or rename it."
        raise NotUsable(f"cohorts.{ramp.name}", "is there, but no ramp has begun", advice)
    free = 1 - sum(one.share for one in groups.values())
    largest = max((one for one in stages.shares if one < 1), default=0.0)
    if largest > free:
        reason = f"other cohorts leave {free:.3g} of the keys, less than the stage of {largest:.3g}"
        raise NotUsable("--ramp", reason, "Make the stages smaller, or end those cohorts first.")


def _judge(decision: Decision, found: Promotion, ramp: Ramp, asked: Asked) -> tuple[Judgement, int]:
    """Ask the gate about the traffic of the present stage; return how many requests it had."""
    from rdv.analysis.promote.gate import judge
    from rdv.analysis.promote.study import figures_of
    from rdv.commands.promote import compare_models

    cohort = ramp.name if ramp.share < 1 else None
    span = (ramp.began_ns, None)
    compared = compare_models(decision, found.proposal, span, asked.on, asked.canary, cohort)
    figures = figures_of(compared, asked.limits)
    return judge(figures, asked.limits), figures.both


class _Shown:
    """Shows the progress of a stage on a terminal, and lines about its events."""

    def __init__(self, output: Output) -> None:
        self._output = output
        self._text = ""
        self._progress = Progress(lambda _, __: self._text)

    def advance(self, stage: float, watch: Watch) -> None:
        """Show what was watched of a stage so far."""
        from rdv.analysis.charts.format import share

        counts = watch.period.totals
        self._text = (
            f"stage {share(stage)}: {watch.period.answers:,} answers, {counts['defaults']:,} "
            f"defaults, {counts['misses']:,} misses, {counts['errors']:,} errors"
        )
        self._progress.advance()

    def note(self, line: str) -> None:
        self._progress.clear()
        self._output.note(line)

    def close(self) -> None:
        self._progress.clear()


def _where(decision: Decision, ramp: Ramp) -> str:
    """Return where an interrupted ramp stays, and how it goes on."""
    from rdv.decision.ramp import read_ramp

    if read_ramp(decision.directory) is None:
        return "the ramp has ended"
    from rdv.analysis.charts.format import share

    return (
        f"the ramp of {ramp.challenger} stays at {share(ramp.share)} of the keys; the same command "
        f"continues it, rdv promote {decision.directory} --abort takes it back"
    )
