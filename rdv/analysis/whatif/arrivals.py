"""The evaluator decides from the answers, and the order in which all reports arrived."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from rdv.analysis.dataset.joined import (
    BAD_INPUT,
    BEHIND,
    EXPIRED,
    NEVER_US,
    NOT_SAMPLED,
    RESULT,
    UNAVAILABLE,
    Joined,
)

KEY_BITS = 16
NEVER_KEY = NEVER_US << KEY_BITS
FOREVER_US = 2**40

REFUSALS = (BEHIND, EXPIRED, NOT_SAMPLED, UNAVAILABLE)


@dataclass(frozen=True)
class Arrivals:
    """n requests, m models. Shapes are (m, n), and (n,) for `wait_us`.

    `key` orders the reports of one request: arrival in µs, shifted by KEY_BITS, plus a tie-break;
    NEVER_KEY without one. `is_answer`: the report is a result, not a refusal or an error.
    `wait_us`: the client's own limit, FOREVER_US without one. `is_live`, `is_dead` (m,): models
    known to be up or dead, all the time.
    """

    models: tuple[str, ...]
    key: npt.NDArray[np.int64]
    is_answer: npt.NDArray[np.bool_]
    wait_us: npt.NDArray[np.int64]
    is_live: npt.NDArray[np.bool_]
    is_dead: npt.NDArray[np.bool_]
    is_bad_input: npt.NDArray[np.bool_] | None = None
    """(m, n): the report says that the data is invalid; None: there is none."""
    left_out: npt.NDArray[np.bool_] | None = None
    """(m, n): the client's own choice of models leaves it out; None: no client has chosen."""

    def __len__(self) -> int:
        return len(self.wait_us)

    def take(self, rows: Any) -> Arrivals:
        """Return these requests."""
        return replace(
            self,
            key=self.key[:, rows],
            is_answer=self.is_answer[:, rows],
            wait_us=self.wait_us[rows],
            is_bad_input=None if self.is_bad_input is None else self.is_bad_input[:, rows],
            left_out=None if self.left_out is None else self.left_out[:, rows],
        )


def arrivals_of(
    joined: Joined,
    wait_us: npt.NDArray[np.int64] | None = None,
    sampled: npt.NDArray[np.uint8] | None = None,
) -> Arrivals:
    """Return the arrivals of a join; all models that have reported at all count as up.

    `sampled` is another outcome matrix than the recorded one.
    """
    outcome = joined.outcome if sampled is None else sampled
    key = (joined.arrival_us.astype(np.int64) << KEY_BITS) | joined.order
    key[joined.arrival_us == NEVER_US] = NEVER_KEY
    count = len(joined.models)
    bad, left_out = outcome == BAD_INPUT, None
    if joined.names_models is not None and joined.names_models.any():
        left_out = (outcome == NOT_SAMPLED) & joined.names_models
    return Arrivals(
        joined.models,
        key,
        outcome == RESULT,
        np.full(len(joined), FOREVER_US, np.int64) if wait_us is None else wait_us,
        np.ones(count, bool),
        np.zeros(count, bool),
        bad if bad.any() else None,
        left_out,
    )


def refusals_of(joined: Joined) -> npt.NDArray[np.bool_]:
    """Return where a model has refused, (m, n), so that its evaluation time is unknown."""
    return np.isin(joined.outcome, REFUSALS)
