"""Make a proposal live, and roll it back."""

from __future__ import annotations

from dataclasses import dataclass

from rdv.commands.promoting.proposal import Proposal
from rdv.commands.schedule.switching import switch
from rdv.decision import Decision, replace_schedule
from rdv.serve.supervisor.lock import holder_of


@dataclass(frozen=True)
class Switched:
    """After how many ms a server reported the schedule as live; None if the decision is not
    served.
    """

    took_ms: float | None


def make_live(decision: Decision, proposal: Proposal) -> Switched:
    """Make the proposal live.

    Raises EditRefused if the file has been edited meanwhile, DecisionBusy, NotLive, SystemFaults.
    """
    return _replace(decision, proposal, is_back=False)


def take_back(decision: Decision, proposal: Proposal) -> Switched:
    """Restore the schedule as it was. Raises what `make_live` raises."""
    return _replace(decision, proposal, is_back=True)


def _replace(decision: Decision, proposal: Proposal, *, is_back: bool) -> Switched:
    texts = (proposal.new, proposal.old) if is_back else (proposal.old, proposal.new)
    schedule = proposal.before if is_back else proposal.after

    def write() -> None:
        replace_schedule(decision.directory, schedule.name, *texts)

    if holder_of(decision.directory) is None:
        write()
        return Switched(None)
    return Switched(switch(decision, schedule, write))
