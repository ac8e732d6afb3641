"""Run by the interpreter of the environment mlflow: log models as a data scientist does."""

from __future__ import annotations

import sys

import mlflow
import numpy as np
import pandas as pd
from sklearn.linear_model import LogisticRegression

_, uri, folder = sys.argv
mlflow.set_tracking_uri(uri)
X = pd.DataFrame({"amount": np.arange(40.0) % 10, "count": np.arange(40) % 3})
Y = (X.amount > 4).astype(int)


class Rules(mlflow.pyfunc.PythonModel):
    def predict(self, context, model_input, params=None):
        limit = (params or {}).get("limit", 5.0)
        score = (model_input["amount"] > limit).astype(float)
        return pd.DataFrame({"score": score, "count": model_input["count"]})


def main() -> None:
    for version in range(4):
        model = LogisticRegression(C=1.0 + version).fit(X, Y)
        signature = mlflow.models.infer_signature(X, model.predict(X))
        mlflow.sklearn.log_model(
            model,
            name="model",
            signature=signature,
            registered_model_name="fraud",
            serialization_format="cloudpickle",
            pip_requirements=["scikit-learn"],
        )
    mlflow.sklearn.save_model(
        model,
        f"{folder}/sklearn",
        signature=signature,
        serialization_format="cloudpickle",
        pip_requirements=["scikit-learn"],
    )
    parameters = mlflow.models.infer_signature(X, params={"limit": 5.0})
    mlflow.pyfunc.save_model(
        f"{folder}/rules",
        python_model=Rules(),
        signature=parameters,
        pip_requirements=["mlflow", "pandas"],
    )
    mlflow.MlflowClient().set_registered_model_alias("fraud", "champion", "1")


main()
