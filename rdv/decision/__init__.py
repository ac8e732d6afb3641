"""A decision is a directory: its settings, and the functions that make and edit one.

- `load_decision(directory)`: rdv.toml, typed and checked
- `init_decision(directory)`: a new directory from a template
- `set_live_schedule`, `add_model`, `remove_model`, `replace_schedule`: edits that keep what a
  person wrote
"""

from __future__ import annotations

from rdv.decision.convert import check_model_name
from rdv.decision.decision import FILE_NAME, RUN_DIRECTORY, Cohort, Cohorts, Decision, Gate
from rdv.decision.edit import add_model, remove_model, replace_schedule, set_live_schedule
from rdv.decision.errors import (
    AssetsMissing,
    DecisionBusy,
    DecisionNotFound,
    DirectoryNotEmpty,
    EditRefused,
    InvalidDecision,
    InvalidModelName,
    ModelExists,
    ModelNotFound,
    ScheduleNotFound,
    TemplateNeeds,
    TrainingFailed,
    UnknownTemplate,
)
from rdv.decision.init import (
    BLANK,
    BlankReport,
    InitReport,
    TrainedModel,
    init_blank,
    init_decision,
)
from rdv.decision.load import (
    environment_names,
    load_decision,
    missing_files,
    parse_decision,
    schedule_names,
    with_environment,
)
from rdv.decision.model import ModelConfig
from rdv.decision.sections import Http, Log, Server
from rdv.decision.template import asset_directory, template_names
from rdv.decision.text import decision_text, default_text
from rdv.rendezvous.topology import STREAMS

__all__ = [
    "BLANK", "FILE_NAME", "RUN_DIRECTORY", "STREAMS", "AssetsMissing", "BlankReport", "Cohort",
    "Cohorts", "Decision", "DecisionBusy", "DecisionNotFound", "DirectoryNotEmpty", "EditRefused",
    "Gate", "Http", "InitReport", "InvalidDecision", "InvalidModelName", "Log", "ModelConfig",
    "ModelExists", "ModelNotFound", "ScheduleNotFound", "Server", "TemplateNeeds", "TrainedModel",
    "TrainingFailed", "UnknownTemplate", "add_model", "asset_directory", "check_model_name",
    "decision_text", "default_text", "environment_names", "init_blank", "init_decision",
    "load_decision", "missing_files", "parse_decision", "remove_model", "replace_schedule",
    "schedule_names", "set_live_schedule", "template_names", "with_environment",
]  # fmt: skip
