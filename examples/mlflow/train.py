"""Train a model on made card payments, save it as an MLflow folder, and register it.

python train.py FOLDER                  only the folder
python train.py FOLDER --register       and a version of "payments" at MLFLOW_TRACKING_URI, which
@champion names from then on
"""

from __future__ import annotations

import argparse

import numpy as np
import pandas as pd
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import mlflow

NAME = "payments"


def payments(count: int, seed: int) -> tuple[pd.DataFrame, np.ndarray]:
    """Return payments, and which of them were fraud."""
    random = np.random.default_rng(seed)
    rows = pd.DataFrame(
        {
            "amount": random.lognormal(3.5, 1.0, count).round(2),
            "count": random.integers(1, 9, count),
        }
    )
    risk = 0.02 * rows["amount"] + 0.4 * rows["count"] - 4.5
    return rows, (random.random(count) < 1 / (1 + np.exp(-risk))).astype(int)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder")
    parser.add_argument("--register", action="store_true")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    rows, is_fraud = payments(2000, given.seed)
    model = make_pipeline(StandardScaler(), LogisticRegression()).fit(rows, is_fraud)
    about = {
        "signature": mlflow.models.infer_signature(rows, model.predict(rows)),
        "serialization_format": "skops",
        "pip_requirements": ["scikit-learn", "skops"],
    }
    mlflow.sklearn.save_model(model, given.folder, **about)
    if given.register:
        info = mlflow.sklearn.log_model(model, name=NAME, registered_model_name=NAME, **about)
        version = str(info.registered_model_version)
        mlflow.MlflowClient().set_registered_model_alias(NAME, "champion", version)
        print(f"{NAME} version {version}")  # noqa: T201


if __name__ == "__main__":
    main()
