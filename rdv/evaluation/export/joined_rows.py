"""Turn a batch of the join into rows: the request, the client's answer, all reports, the truth."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np

from rdv.evaluation.export.answer import NOTHING, Answers
from rdv.evaluation.joined import ABSENT, ANSWERED_BY, KINDS, NEVER_US, OUTCOMES, RESULT, Joined
from rdv.evaluation.outcomes import Outcomes
from rdv.messages import Result, result_code


def joined_rows(joined: Joined, outcomes: Outcomes, answers: Answers) -> dict[str, Any]:
    """Return the columns of the table `joined`."""
    rows = range(len(joined))
    ids = [joined.id(row) for row in rows]
    told = [_told(joined, row) for row in rows]
    truths = [outcomes.raw(id_) for id_ in ids]
    return {
        "id": ids,
        "time": joined.time_ns,
        "appended": joined.append_ns,
        "proxy": [joined.proxy.at(row) for row in rows],
        "key": joined.key.cast("string"),
        "cohort": [joined.cohort.at(row) for row in rows],
        "asked": [joined.asked.at(row) for row in rows],
        "deadline_ms": _floats(joined.deadline_ms),
        "data": [bytes(joined.request(row).data).decode() for row in rows],
        "kind": [KINDS[code] for code in joined.kind.tolist()],
        "model": [joined.model.at(row) for row in rows],
        "version": [joined.version.at(row) for row in rows],
        **answers.columns(None if one is None else bytes(one.result) for one in told),
        "code": [None if one is None else result_code(one) or None for one in told],
        "step": joined.step.astype(np.int64),
        "waited_ms": _floats(joined.waited_ms),
        "schedule": [joined.label.at(row) for row in rows],
        "answered_by": [ANSWERED_BY[code] for code in joined.answered_by.tolist()],
        **answers.columns(truths, "outcome_", "outcome"),
        "reports": [_reports(joined, row, answers) for row in rows],
    }


def _floats(values: Any) -> list[float | None]:
    return [None if value != value else value for value in values.tolist()]  # noqa: PLR0124  NaN


def _told(joined: Joined, row: int) -> Result | None:
    return joined.own_answer(row) or joined.server_result(row)


def _reports(joined: Joined, row: int, answers: Answers) -> list[dict[str, Any]]:
    found = []
    for model in np.flatnonzero(joined.outcome[:, row] != ABSENT).tolist():
        code, arrival_us = int(joined.outcome[model, row]), int(joined.arrival_us[model, row])
        answer = NOTHING
        if code == RESULT and (score := joined.score(model, row)) is not None:
            raw = score.result
            answer = answers.of_json(None if raw is msgspec.UNSET else bytes(raw))
        found.append(
            {
                "model": joined.models[model],
                "outcome": OUTCOMES[code],
                "arrived_ms": None if arrival_us == NEVER_US else arrival_us / 1000,
                "is_exact": bool(joined.is_exact[model, row]),
                "label": answer.label,
                "score": answer.score,
            }
        )
    return found
