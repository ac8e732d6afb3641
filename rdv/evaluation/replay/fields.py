"""Choose the field of the answers to compare if none was named. Pure except for the reading."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from rdv.evaluation.notes import Notes
from rdv.evaluation.places import SCORES, Recorded
from rdv.evaluation.reading.messages import read_scores
from rdv.evaluation.reading.source import sources
from rdv.evaluation.values import EQUAL_FIELDS, NUMBER_FIELDS, Extract
from rdv.payload import is_readable, read_recorded

LOOKED_AT = 50
"""How many recorded answers of each model are read."""


def common_field(new: Any, recorded: Iterable[Any]) -> str | None:
    """Return the first of the usual fields that both the new model's answer and a recorded one
    have.

    Returns None if they share none, or answers are not objects; then the usual rule applies.
    """
    if not isinstance(new, dict):
        return None
    theirs = {name for answer in recorded if isinstance(answer, dict) for name in answer}
    usual = (*EQUAL_FIELDS, *NUMBER_FIELDS)
    return next((name for name in usual if name in new and name in theirs), None)


def recorded_answers(recorded: Recorded) -> list[Any]:
    """Return some of the newest recorded answers of each model. Raises the log's SystemFaults."""
    found: list[Any] = []
    for source in sources(recorded.stream(SCORES)):
        for chunk in source.chunks(source.end - LOOKED_AT, source.end, Notes()):
            found += _answers([score.result for score in read_scores(chunk) if score is not None])
    return found


def _answers(results: Sequence[Any]) -> list[Any]:
    texts = [bytes(raw) for raw in results if raw is not msgspec.UNSET]
    return [read_recorded(text) for text in texts if is_readable(text)]


def extract_for(on: str | None, first: bytes, recorded: Sequence[Any]) -> Extract:
    """Return the extract for a model by its first answer; `on` is the field that was asked for."""
    if on is not None:
        return Extract(on)
    common = common_field(read_recorded(first), recorded)
    extract = Extract(common)
    if common is not None:
        extract.is_number = common in NUMBER_FIELDS
    return extract
