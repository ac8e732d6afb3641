"""Load a model by its settings in a decision."""

from __future__ import annotations

import os
from collections.abc import Sequence

from rdv.models.child import Log
from rdv.models.command import CommandModel
from rdv.models.decoy import Decoy
from rdv.models.estimator import ENDINGS, EstimatorModel
from rdv.models.model import Model, ModelNotLoaded
from rdv.models.python_file import PythonModel
from rdv.rendezvous.messages import RESULT_BYTES_MAX

FILE_ENDINGS = (".py", *ENDINGS)
"""How the name of a model's file ends."""


def open_model(
    directory: str,
    name: str,
    *,
    path: str = "",
    command: Sequence[str] = (),
    builtin: str = "",
    version: str = "",
    start_timeout_ms: int = 30_000,
    predict_timeout_ms: int = 10_000,
    result_bytes_max: int = RESULT_BYTES_MAX,
    archive_bytes_max: int = 1024**3,
    command_directory: str = "",
    log: Log | None = None,
) -> Model:
    """Load the model `name` of the decision in `directory`; `path` is relative to it.

    One of path, command and builtin = "decoy" is given; a canary is loaded like any other model. A
    command runs in `command_directory`, which is the decision's unless given; `log` gets its
    stderr, line by line. Only a command's timeouts are enforced here: Python code that hangs can
    only be ended with its process, by a watchdog. Raises ModelNotLoaded.
    """
    if builtin == "decoy":
        return Decoy(os.path.join(directory, "decoy", name), archive_bytes_max, version)
    if command:
        return CommandModel(
            name,
            command,
            command_directory or directory,
            version=version,
            start_timeout_ms=start_timeout_ms,
            predict_timeout_ms=predict_timeout_ms,
            result_bytes_max=result_bytes_max,
            log=log,
        )
    place = os.path.join(directory, path)
    if not os.path.isfile(place):
        raise ModelNotLoaded(name, path or "no path", "there is no such file")
    if path.endswith(ENDINGS):
        return EstimatorModel(name, place, version, result_bytes_max)
    if path.endswith(".py"):
        return PythonModel(name, place, version, result_bytes_max)
    raise ModelNotLoaded(name, path, f"a model's file ends in {', '.join(FILE_ENDINGS)}")
