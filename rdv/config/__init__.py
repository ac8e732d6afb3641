"""A decision is a directory: its settings, and the functions that make and edit one.

- `load_decision(directory)`: rdv.toml, typed and checked
- `init_decision(directory)`: a new directory from a template
- `set_live_schedule`, `add_model`, `remove_model`, `replace_schedule`: edits that keep what a
  person wrote
"""

from __future__ import annotations

from rdv.config.assets import asset_directory
from rdv.config.blank import BLANK, BlankReport, init_blank
from rdv.config.convert import check_model_name
from rdv.config.decision import FILE_NAME, RUN_DIRECTORY, STREAMS, Cohort, Cohorts, Decision
from rdv.config.edit import add_model, remove_model, replace_schedule, set_live_schedule
from rdv.config.environment import environment_names, with_environment
from rdv.config.errors import (
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
from rdv.config.gate import Gate
from rdv.config.init import InitReport, TrainedModel, init_decision
from rdv.config.load import load_decision, missing_files, parse_decision, schedule_names
from rdv.config.model import ModelConfig
from rdv.config.sections import Http, Log, Server
from rdv.config.template import template_names
from rdv.config.text import decision_text, default_text

__all__ = [
    "BLANK",
    "FILE_NAME",
    "RUN_DIRECTORY",
    "STREAMS",
    "AssetsMissing",
    "BlankReport",
    "Cohort",
    "Cohorts",
    "Decision",
    "DecisionBusy",
    "DecisionNotFound",
    "DirectoryNotEmpty",
    "EditRefused",
    "Gate",
    "Http",
    "InitReport",
    "InvalidDecision",
    "InvalidModelName",
    "Log",
    "ModelConfig",
    "ModelExists",
    "ModelNotFound",
    "ScheduleNotFound",
    "Server",
    "TemplateNeeds",
    "TrainedModel",
    "TrainingFailed",
    "UnknownTemplate",
    "add_model",
    "asset_directory",
    "check_model_name",
    "decision_text",
    "default_text",
    "environment_names",
    "init_blank",
    "init_decision",
    "load_decision",
    "missing_files",
    "parse_decision",
    "remove_model",
    "replace_schedule",
    "schedule_names",
    "set_live_schedule",
    "template_names",
    "with_environment",
]
