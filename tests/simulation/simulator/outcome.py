"""Describe how a run ended."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Broken:
    """Describe a broken promise. `promise` is its short name, the same for all cases of a kind."""

    promise: str
    detail: str

    def __str__(self) -> str:
        return f"{self.promise}: {self.detail}"


@dataclass
class Outcome:
    """Hold what broke, what was counted, and the trace (only when asked for)."""

    broken: list[Broken] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    trace: list[str] = field(default_factory=list)
    digest: str = ""
    """The hash of all answers: the same for the same plan."""

    @property
    def promises(self) -> set[str]:
        return {broken.promise for broken in self.broken}
