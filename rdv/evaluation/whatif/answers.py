"""Compute the answers of the new decisions: values for comparison, and combined answers."""

from __future__ import annotations

import msgspec
import numpy as np
import numpy.typing as npt
from msgspec import UNSET

from rdv.evaluation.joined import FALLBACK, Joined
from rdv.evaluation.values import Extract
from rdv.evaluation.whatif.decide import NOBODY, Decided
from rdv.rendezvous.combine import combine_results
from rdv.schedule import OTHERS, Schedule

Floats = npt.NDArray[np.float64]


def values_of(joined: Joined, decided: Decided, schedule: Schedule, extract: Extract) -> Floats:
    """Return the value of each new answer, (n,); NaN where it has no such value.

    Combined answers are made from the scores' own lines, one by one; where they cannot be combined,
    `decided` is changed to what the engine does: a fallback, by the best-ranked.
    """
    assert joined.value is not None
    values = np.full(len(joined), extract.of_answer(schedule.default))
    answered = np.flatnonzero(decided.model != NOBODY)
    values[answered] = joined.value[decided.model[answered], answered]
    for row in np.flatnonzero(decided.is_combined).tolist():
        combined = _combined(joined, decided, schedule, row)
        if combined is None:
            decided.kind[row] = FALLBACK
            decided.is_combined[row] = False
        else:
            values[row] = extract.of_json(bytes(combined))
    return values


def _combined(joined: Joined, decided: Decided, schedule: Schedule, row: int) -> msgspec.Raw | None:
    step = schedule.steps[int(decided.step[row]) - 1]
    results = []
    for model in winners_by_rank(joined, decided, schedule, row):
        score = joined.score(model, row)
        if score is not None and score.result is not UNSET:
            results.append(score.result)
    if not results:
        return None
    return combine_results(step.combine, results, step.on, step.top)


def winners_by_rank(joined: Joined, decided: Decided, schedule: Schedule, row: int) -> list[int]:
    """Return the models whose answers are combined, the best-ranked first; of equal rank, the
    earliest.
    """
    assert decided.winners is not None
    accept = schedule.steps[int(decided.step[row]) - 1].accept

    def rank(model: int) -> tuple[int, int, int]:
        name = joined.models[model]
        place = accept.index(name if name in accept else OTHERS)
        return place, int(joined.arrival_us[model, row]), int(joined.order[model, row])

    return sorted(np.flatnonzero(decided.winners[:, row]).tolist(), key=rank)


def names_of(joined: Joined, decided: Decided, schedule: Schedule) -> list[str | None]:
    """Return the model that answers each request, as in results: "a+b" for combined answers."""
    names: list[str | None] = [*joined.models, None]
    found = [names[number] for number in decided.model.tolist()]
    for row in np.flatnonzero(decided.is_combined).tolist():
        found[row] = "+".join(
            joined.models[model] for model in winners_by_rank(joined, decided, schedule, row)
        )
    return found
