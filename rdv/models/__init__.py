"""Every kind of model has the same `predict` for a worker.

    open_model(directory, name, path="models/gbm.py")            a Python file
    open_model(directory, name, path="models/gbm.joblib")        a file of a library
    open_model(directory, name, command=["Rscript", "gbm.R"])    any program, by JSON lines
    open_model(directory, name, builtin="decoy")                 archives its input

The process that opens a model runs its code: only workers do. Importing this package loads no
library that a model may need.
"""

from __future__ import annotations

from rdv.models.batch import check_result, encode_result, evaluate
from rdv.models.model import Cause, Model, ModelError, ModelNotLoaded, Outcome, Takes, trouble_of
from rdv.models.open import open_model, prepare_interpreter

__all__ = [
    "Cause",
    "Model",
    "ModelError",
    "ModelNotLoaded",
    "Outcome",
    "Takes",
    "check_result",
    "encode_result",
    "evaluate",
    "open_model",
    "prepare_interpreter",
    "trouble_of",
]
