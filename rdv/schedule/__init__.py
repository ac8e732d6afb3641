"""Who is preferred, for how long only the preferred will do, and what to say if nobody answers.

    sla_ms = 50
    default = { score = 0.0, action = "review" }
    [[step]]            # only the champion will do
    until_ms = 30
    accept = ["gbm"]
    [[step]]            # anything that has answered
    accept = ["*"]

Pure: text or an object in, a `Schedule` out; a linter; a picture; cohorts.
"""

from __future__ import annotations

from rdv.schedule.cohort import assign_cohort
from rdv.schedule.draw import draw_schedule
from rdv.schedule.errors import InvalidSchedule, InvalidShares
from rdv.schedule.inline import INLINE_BYTES_MAX, inline_text, read_inline
from rdv.schedule.lint import Finding, Severity, lint_schedule
from rdv.schedule.load import schedule_from_object, schedule_from_toml
from rdv.schedule.model import OTHERS, SLA_MS_MAX, Combine, Schedule, Step
from rdv.schedule.windows import windows_ms

__all__ = [
    "INLINE_BYTES_MAX",
    "OTHERS",
    "SLA_MS_MAX",
    "Combine",
    "Finding",
    "InvalidSchedule",
    "InvalidShares",
    "Schedule",
    "Severity",
    "Step",
    "assign_cohort",
    "draw_schedule",
    "inline_text",
    "lint_schedule",
    "read_inline",
    "schedule_from_object",
    "schedule_from_toml",
    "windows_ms",
]
