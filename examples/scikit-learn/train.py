"""Train a scikit-learn pipeline, and save it by skops, and by joblib."""

import joblib
import numpy as np
import pandas as pd
import skops.io
from sklearn.compose import ColumnTransformer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

chance = np.random.default_rng(7)
n = 2000
visits, spent = chance.poisson(4, n), chance.gamma(2, 40, n).round(2)
plan = chance.choice(["basic", "family", "pro"], n)
leaves = chance.random(n) < 1 / (1 + np.exp(visits - 3 + 0.01 * spent * (plan == "pro")))

customers = pd.DataFrame({"visits": visits, "spent": spent, "plan": plan})
columns = ColumnTransformer(
    [
        ("plan", OneHotEncoder(handle_unknown="ignore"), ["plan"]),
        ("numbers", StandardScaler(), ["visits", "spent"]),
    ]
)
model = make_pipeline(columns, LogisticRegression()).fit(customers, leaves.astype(int))
skops.io.dump(model, "churn.skops")
joblib.dump(model, "churn.joblib")
