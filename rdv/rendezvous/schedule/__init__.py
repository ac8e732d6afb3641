"""A schedule says which models are preferred, for how long, and what the default answer is.

    sla_ms = 50
    default = { score = 0.0, action = "review" }
    [[step]]            # only the champion is accepted
    until_ms = 30
    accept = ["gbm"]
    [[step]]            # any model that has answered
    accept = ["*"]

Pure: it reads text or an object into a `Schedule`, checks and draws it, and assigns cohorts.
"""

from __future__ import annotations

from rdv.rendezvous.schedule.cohort import assign_cohort
from rdv.rendezvous.schedule.draw import draw_schedule
from rdv.rendezvous.schedule.lint import Finding, Severity, lint_schedule
from rdv.rendezvous.schedule.load import (
    INLINE_BYTES_MAX,
    inline_text,
    read_inline,
    schedule_from_object,
    schedule_from_toml,
)
from rdv.rendezvous.schedule.model import (
    OTHERS,
    SLA_MS_MAX,
    Combine,
    InvalidSchedule,
    InvalidShares,
    Schedule,
    Step,
    windows_ms,
)

__all__ = [
    "INLINE_BYTES_MAX", "OTHERS", "SLA_MS_MAX", "Combine", "Finding", "InvalidSchedule",
    "InvalidShares", "Schedule", "Severity", "Step", "assign_cohort", "draw_schedule",
    "inline_text", "lint_schedule", "read_inline", "schedule_from_object", "schedule_from_toml",
    "windows_ms",
]  # fmt: skip
