"""What a verification has found: counts, differences, and values for JSON."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from rdv.analysis.dataset.notes import Notes
from rdv.analysis.errors import DecisionsDiffer
from rdv.analysis.statistics import plain
from rdv.codes import VerifyCode


@dataclass(frozen=True)
class Difference:
    """One decision that is not reproduced: by field, the recorded and the replayed value."""

    id: str
    fields: dict[str, tuple[object, object]]


@dataclass
class Verification:
    """The findings of `verify`. Lists have a thousand entries at most; counts are complete."""

    requests: int = 0
    same: int = 0
    """Decisions that the engine makes in exactly the same way."""
    own: int = 0
    """Answers that proxies gave by themselves, and that are the marked default."""
    by_liveness: int = 0
    """Of `same`, those that follow only with other dead models than are recorded for then."""
    overloaded: int = 0
    """Defaults for lack of room; what else was open at that time is not replayed."""
    differing: int = 0
    differences: list[Difference] = field(default_factory=list)
    unanswered: int = 0
    unanswered_ids: list[str] = field(default_factory=list)
    lost_with_proxy: int = 0
    """Requests without a result whose proxy was gone before they were due."""
    open: int = 0
    """Requests that are not due yet."""
    unchecked: Counter[str] = field(default_factory=Counter)
    """Decisions that cannot be replayed, by what is not recorded."""
    unchecked_codes: Counter[VerifyCode] = field(default_factory=Counter)
    """The same by code."""
    notes: Notes = field(default_factory=Notes)

    def _repr_html_(self) -> str:
        """Return the report, for notebooks."""
        from rdv.analysis.verify.view import verify_report

        return verify_report(self).fragment()

    def leave_unchecked(self, code: VerifyCode, text: str) -> None:
        """Count a decision that cannot be replayed."""
        self.unchecked[text] += 1
        self.unchecked_codes[code] += 1

    def findings(self) -> dict[VerifyCode, int]:
        """Return how many faults there are, by code; nothing if all is sound."""
        found: dict[VerifyCode, int] = {
            "decision_differs": self.differing,
            "request_unanswered": self.unanswered,
            "result_without_request": self.notes.stray_count,
        }
        return {code: count for code, count in found.items() if count}

    @property
    def is_sound(self) -> bool:
        return not self.findings()

    def raise_if_broken(self, directory: str) -> None:
        """Raise DecisionsDiffer if anything is wrong."""
        if not self.is_sound:
            raise DecisionsDiffer(
                directory, self.differing, self.unanswered, self.notes.stray_count
            )

    def remarks(self) -> list[str]:
        """Return what a reader should know besides the counts, one sentence each."""
        counted = (
            (self.lost_with_proxy, "requests ended with their proxy: no client was waiting"),
            (self.open, "requests are not due yet"),
            (self.by_liveness, "decisions differ by which models were known to be down"),
            (self.overloaded, "defaults because the server was full: not checked"),
        )
        return [f"{n:,} {text}" for n, text in counted if n] + self.notes.lines()

    def as_json(self) -> dict[str, Any]:
        """Return everything; values that differ stay as they are recorded."""
        return {
            **vars(self),
            "differences": [vars(one) for one in self.differences],
            "is_sound": self.is_sound,
            "findings": self.findings(),
            "notes": plain(self.notes),
        }
