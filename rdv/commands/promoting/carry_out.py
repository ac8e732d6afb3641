"""Carry out a promotion: make it live, watch it, and roll it back if necessary."""

from __future__ import annotations

import contextlib

from rdv.analysis.promote.watch import Bounds, Breach, Vigil
from rdv.commands.output import Output, Progress
from rdv.commands.promote import show_switch, show_watch
from rdv.commands.promoting.live import Switched, make_live, take_back
from rdv.commands.promoting.proposal import Proposal
from rdv.commands.promoting.watch import Watch
from rdv.decision import Decision


def carry_out(
    decision: Decision,
    proposal: Proposal,
    bounds: Bounds | None,
    seconds: float | None,
    output: Output,
) -> tuple[Switched, Vigil | None, list[Breach]]:
    """Make the proposal live; with `bounds`, watch it for `seconds`, and roll it back if it breaks
    them.

    Returns what was switched, the state of the watch, and the breaches. Raises EditRefused if the
    file has been edited meanwhile, DecisionBusy, NotLive, SystemFaults.
    """
    with contextlib.ExitStack() as stack:
        watch: Watch | None = None
        if bounds is not None:
            watch = stack.enter_context(Watch(decision, proposal, bounds))
        switched = make_live(decision, proposal)
        show_switch(proposal.after.label, switched, output)
        if watch is None or seconds is None:
            return switched, None, []
        try:
            breaches = _follow(watch, seconds)
        except KeyboardInterrupt:
            output.note(f"not watched any more: {proposal.challenger} stays the champion")
            raise
        show_watch(watch.vigil, seconds, breaches, output)
        if breaches:
            for breach in breaches:
                output.note(f"after {watch.vigil.answers:,} answers: {breach.text()}")
            back = take_back(decision, proposal)
            output.note(f"rolled back to {proposal.before.label}")
            show_switch(proposal.before.label, back, output)
        return switched, watch.vigil, breaches


def _follow(watch: Watch, seconds: float) -> list[Breach]:
    left = [seconds]

    def describe(done: int, _: int) -> str:
        counts = watch.vigil.totals
        return (
            f"watching, {left[0]:.0f} s left: {done:,} answers, {counts['defaults']:,} defaults, "
            f"{counts['misses']:,} misses, {counts['errors']:,} errors"
        )

    with Progress(describe) as progress:
        told = [0]

        def tell(vigil: Vigil, left_s: float) -> None:
            left[0] = left_s
            progress.advance(vigil.answers - told[0])
            told[0] = vigil.answers

        return watch.follow(seconds, tell)
