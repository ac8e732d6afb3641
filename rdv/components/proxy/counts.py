"""Counts the requests and answers of a proxy."""

from __future__ import annotations

from dataclasses import dataclass, field

MODELS_MAX = 1_000
"""The maximum number of names counted one by one; each combination of models has a name."""

OTHERS = "(others)"


@dataclass
class Counts:
    """Counts requests and answers; the counters only grow. One thread."""

    requests: int = 0
    refused: int = 0
    """Refused with a 4xx or 503: these were not accepted."""
    preferred: int = 0
    fallback: int = 0
    default: int = 0
    backstop: int = 0
    """Answered by the proxy itself, since no result had come in time."""
    late: int = 0
    """Answered after the SLA, by the proxy's own clock: the default, or what came just then."""
    misses: int = 0
    """Answered later than the SLA plus 10 ms."""
    unlogged: int = 0
    """Answered with the default because the log could not be written."""
    gone: int = 0
    """Accepted, and not answered: the client had left."""
    malformed: int = 0
    """Results that could not be read."""
    by_model: dict[str, int] = field(default_factory=dict)

    def count_model(self, model: str) -> None:
        if model not in self.by_model and len(self.by_model) >= MODELS_MAX:
            model = OTHERS
        self.by_model[model] = self.by_model.get(model, 0) + 1
