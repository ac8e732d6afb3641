"""Train an XGBoost model, and save it as XGBoost does."""

import numpy as np
import pandas as pd

import xgboost

chance = np.random.default_rng(7)
n = 2000
visits, spent = chance.poisson(4, n), chance.gamma(2, 40, n).round(2)
plan = chance.choice(["basic", "family", "pro"], n)
leaves = chance.random(n) < 1 / (1 + np.exp(visits - 3 + 0.01 * spent * (plan == "pro")))

customers = pd.DataFrame({"visits": visits, "spent": spent, "plan": pd.Categorical(plan)})
data = xgboost.DMatrix(customers, leaves, enable_categorical=True)
xgboost.train({"objective": "binary:logistic", "nthread": 1}, data, 50).save_model("churn.ubj")
