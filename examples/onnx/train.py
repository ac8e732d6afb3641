"""Train a scikit-learn pipeline, and save it as ONNX, with an input for each column."""

from pathlib import Path

import numpy as np
import pandas as pd
from skl2onnx import to_onnx
from skl2onnx.common.data_types import FloatTensorType, Int64TensorType, StringTensorType
from sklearn.compose import ColumnTransformer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

chance = np.random.default_rng(7)
n = 2000
visits, spent = chance.poisson(4, n), chance.gamma(2, 40, n).round(2)
plan = chance.choice(["basic", "family", "pro"], n)
leaves = chance.random(n) < 1 / (1 + np.exp(visits - 3 + 0.01 * spent * (plan == "pro")))

customers = pd.DataFrame({"visits": visits, "spent": spent, "plan": plan})
columns = ColumnTransformer([("plan", OneHotEncoder(), ["plan"])], remainder="passthrough")
model = make_pipeline(columns, LogisticRegression(max_iter=1000)).fit(customers, leaves.astype(int))
inputs = [
    ("visits", Int64TensorType([None, 1])),
    ("spent", FloatTensorType([None, 1])),
    ("plan", StringTensorType([None, 1])),
]
Path("churn.onnx").write_bytes(to_onnx(model, initial_types=inputs).SerializeToString())
