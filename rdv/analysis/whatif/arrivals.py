"""The evaluator decides from the answers, and the order in which all reports arrived."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from rdv.analysis.dataset.joined import BEHIND, EXPIRED, NEVER_US, NOT_SAMPLED, RESULT, Joined

KEY_BITS = 16
NEVER_KEY = NEVER_US << KEY_BITS
FOREVER_US = 2**40

REFUSALS = (BEHIND, EXPIRED, NOT_SAMPLED)


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

    def __len__(self) -> int:
        return len(self.wait_us)

    def take(self, rows: Any) -> Arrivals:
        """Return these requests."""
        return replace(
            self,
            key=self.key[:, rows],
            is_answer=self.is_answer[:, rows],
            wait_us=self.wait_us[rows],
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
    return Arrivals(
        joined.models,
        key,
        outcome == RESULT,
        np.full(len(joined), FOREVER_US, np.int64) if wait_us is None else wait_us,
        np.ones(count, bool),
        np.zeros(count, bool),
    )


def refusals_of(joined: Joined) -> npt.NDArray[np.bool_]:
    """Return where a model has refused, (m, n), so that its evaluation time is unknown."""
    return np.isin(joined.outcome, REFUSALS)
