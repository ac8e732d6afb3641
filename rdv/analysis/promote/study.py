"""Turn a comparison of champion and challenger into the figures of the gate."""

from __future__ import annotations

from rdv.analysis.compare.result import Comparison, ModelFigures
from rdv.analysis.promote.gate import Figures
from rdv.analysis.promote.watch import Bounds
from rdv.analysis.statistics import Interval
from rdv.decision import Gate as Limits


def figures_of(found: Comparison) -> Figures:
    """Return the figures; `found.first` is the champion, `found.second` the challenger."""
    champion, challenger = found.first, found.second
    drift = next((one for one in found.drift if one.model == challenger.name), None)
    newest = challenger.versions.get(challenger.version or "", 0)
    classes, scores = found.classes, found.scores
    agreement = classes.rate if classes is not None else None
    if agreement is None and scores is not None:
        agreement = scores.correlation
    kappa = None if classes is None else _known(classes.kappa)
    return Figures(
        both=min(found.both, newest),
        judged=0 if found.accuracy is None else found.accuracy.requests,
        loss=None if found.accuracy is None else found.accuracy.difference,
        agreement=_known(agreement),
        agreement_of="answers" if classes is not None else "ranks",
        kappa=None if kappa is None else kappa.estimate,
        late=_late(challenger),
        champion_late=_late(champion),
        errors=challenger.errors,
        refusals=challenger.refusals,
        drift="too few" if drift is None else drift.cause,
        drift_sentence="Nothing is known of drift." if drift is None else drift.sentence,
    )


def bounds_of(found: Comparison, limits: Limits) -> Bounds:
    """Return what a watched champion may do: no worse than before, by the same limits."""
    total = max(1, sum(found.kinds.values()))
    factor = limits.marginal_factor
    late = max(limits.late_max, _late(found.second), _late(found.first))
    return Bounds(
        misses=limits.late_max + found.late / total,
        defaults=limits.defaults_max + found.kinds.get("default", 0) / total,
        errors=max(limits.errors_max, found.second.errors) * factor,
        others=min(0.5, factor * late),
    )


def _late(model: ModelFigures) -> float:
    return 0.0 if model.in_window is None else 1 - model.in_window


def _known(value: Interval | None) -> Interval | None:
    return value if value is not None and value.estimate == value.estimate else None
