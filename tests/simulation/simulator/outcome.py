"""How a run ended."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Broken:
    """A promise that did not hold. `promise` is its short name; the same for the same kind."""

    promise: str
    detail: str

    def __str__(self) -> str:
        return f"{self.promise}: {self.detail}"


@dataclass
class Outcome:
    """What broke, what was counted, and the trace (only when asked for)."""

    broken: list[Broken] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    trace: list[str] = field(default_factory=list)
    digest: str = ""
    """Of everything that was told to anybody: the same for the same plan."""

    @property
    def promises(self) -> set[str]:
        return {broken.promise for broken in self.broken}
