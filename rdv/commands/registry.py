"""Write promotions to the MLflow registry that a model comes from."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rdv.analysis.promote.result import Promotion
    from rdv.commands.output import Output
    from rdv.decision import Decision
    from rdv.decision.registry import WriteBack


def write_back(decision: Decision, found: Promotion, output: Output) -> None:
    """Write a promotion, or that it was taken back, to the registry of the challenger.

    Does nothing for a challenger that comes from no registry. A failure is a note: the promotion
    stands, and `rdv serve` writes it later.
    """
    proposal = found.proposal
    why = "; ".join(breach.text() for breach in found.breaches) or found.stepped_back
    if why:
        take_back(decision, proposal.champion, proposal.challenger, why, output)
    elif proposal.challenger in decision.registered:
        from rdv.mlflow.write_back import promotion

        what = promotion(
            decision,
            proposal.champion,
            proposal.challenger,
            found.judgement.verdict,
            proposal.after.label,
        )
        _record(decision, proposal.challenger, what, output)


def take_back(decision: Decision, champion: str, challenger: str, why: str, output: Output) -> None:
    """Write that a promotion, or a part of it, was taken back. See `write_back`."""
    if challenger in decision.registered:
        from rdv.mlflow.write_back import rollback

        _record(decision, challenger, rollback(decision, champion, challenger, why), output)


def _record(decision: Decision, challenger: str, what: WriteBack | None, output: Output) -> None:
    from rdv.errors import RdvError
    from rdv.mlflow.write_back import record

    if what is None:
        return
    try:
        output.note(f"MLflow: {record(decision, challenger, what)}")
    except RdvError as error:
        output.note(f"MLflow: not written to the registry: {error.text()}")
