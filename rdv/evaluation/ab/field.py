"""Find the field of the answers that outcomes are about, if none was named."""

from __future__ import annotations

from typing import Any

from msgspec import UNSET, Raw, UnsetType

from rdv.evaluation.notes import Notes
from rdv.evaluation.outcomes import read_truths
from rdv.evaluation.places import OUTCOMES, SCORES, Recorded
from rdv.evaluation.reading.messages import read_scores
from rdv.evaluation.reading.source import sources
from rdv.evaluation.values import NUMBER_FIELDS
from rdv.payload import UnusableJson, read_recorded

LOOK_AT = 200


def number_field(recorded: Recorded) -> str | None:
    """Return `score` if outcomes are only yes or no (1, 0) and answers have a score.

    Answers that also name an action would otherwise be compared by it, and would always be wrong.
    None stands for the usual rule (`values`). Raises the log's SystemFaults.
    """
    truths = _some_truths(recorded)
    if not truths or not all(truth in (0, 1) for truth in truths):
        return None
    for source in sources(recorded.stream(SCORES)):
        for chunk in source.chunks(source.begin, min(source.end, source.begin + LOOK_AT), Notes()):
            for score in read_scores(chunk):
                if score is None or score.result is UNSET:
                    continue
                answer = _read(score.result)
                if not isinstance(answer, dict):
                    return None
                return next((field for field in NUMBER_FIELDS if field in answer), None)
    return None


def _some_truths(recorded: Recorded) -> list[Any]:
    found: list[Any] = []
    for source in sources(recorded.stream(OUTCOMES)):
        for chunk in source.chunks(source.begin, min(source.end, source.begin + LOOK_AT), Notes()):
            truths = (truth for truth in read_truths(chunk) if truth is not None)
            found += [_read(truth.outcome) for truth in truths]
    return [truth for truth in found if truth is not None]  # null takes an outcome back


def _read(raw: Raw | UnsetType) -> Any:
    """Return the parsed value; None for what cannot be read."""
    if isinstance(raw, UnsetType):
        return None
    try:
        return read_recorded(bytes(raw))
    except UnusableJson:
        return None
