"""Train a LightGBM model, and save it as LightGBM does."""

import numpy as np
import pandas as pd

import lightgbm

chance = np.random.default_rng(7)
n = 2000
visits, spent = chance.poisson(4, n), chance.gamma(2, 40, n).round(2)
plan = chance.choice(["basic", "family", "pro"], n)
leaves = chance.random(n) < 1 / (1 + np.exp(visits - 3 + 0.01 * spent * (plan == "pro")))

customers = pd.DataFrame({"visits": visits, "spent": spent, "plan": pd.Categorical(plan)})
settings = {"objective": "binary", "verbose": -1, "num_threads": 1}
lightgbm.train(settings, lightgbm.Dataset(customers, leaves), 50).save_model("churn.txt")
