"""Run by the interpreter of the environment mlflow: save a model of each library by MLflow.

    python mlflow_kinds.py FOLDER

Writes FOLDER/NAME for each model, and FOLDER/expected.json: rows, and what `mlflow.pyfunc` answers.
"""

from __future__ import annotations

import json
import sys

import catboost
import lightgbm
import mlflow
import numpy as np
import pandas as pd
import skl2onnx
import xgboost
from sklearn.compose import ColumnTransformer
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

FOLDER = sys.argv[1]
CHANCE = np.random.default_rng(3)
N = 300
AMOUNT = CHANCE.gamma(2, 40, N).round(2)
X = pd.DataFrame({"amount": AMOUNT, "count": CHANCE.integers(0, 9, N)})
HOLES = X.assign(amount=X["amount"].where(CHANCE.random(N) < 0.8))
TEXT = X.assign(plan=CHANCE.choice(["basic", "grøn", "pro"], N))
VALUE = X["amount"] / 50 + X["count"]
YES = (VALUE > 5).astype(int)
THREE = np.digitize(VALUE, [4, 7])
WORDS = np.where(YES, "yes", "no")
FEW = {"n_estimators": 8}
CAT = {"iterations": 8, "verbose": 0, "allow_writing_files": False, "thread_count": 1}


def booster(rows: pd.DataFrame, y: object, **settings: object) -> lightgbm.Booster:
    data = lightgbm.Dataset(rows, y, free_raw_data=False)
    return lightgbm.train({"verbose": -1, "num_threads": 1, **settings}, data, 8)


def matrix(y: object, **settings: object) -> xgboost.Booster:
    return xgboost.train({"nthread": 1, **settings}, xgboost.DMatrix(HOLES, y), 8)


def as_onnx(estimator: object, y: object = YES) -> object:
    wide = X.to_numpy(np.float32)
    return skl2onnx.to_onnx(estimator.fit(wide, y), wide[:1])


def encoded(column: str | int) -> object:
    columns = ColumnTransformer([("plan", OneHotEncoder(), [column])], remainder="passthrough")
    return make_pipeline(columns, LogisticRegression(max_iter=500))


def models() -> dict[str, tuple[str, object, pd.DataFrame, dict[str, object]]]:
    """Return the flavour, the model, its rows, and settings of `save_model`, by name."""
    pickle = {"serialization_format": "cloudpickle"}
    skops = {"serialization_format": "skops"}
    two, value, three = LogisticRegression(), LinearRegression(), LogisticRegression(max_iter=500)
    return {
        "sklearn-value": ("sklearn", value.fit(X, VALUE), X, pickle),
        "sklearn-two": ("sklearn", two.fit(X, YES), X, skops),
        "sklearn-three": ("sklearn", three.fit(X, THREE), X, skops),
        "sklearn-text": ("sklearn", encoded("plan").fit(TEXT, WORDS), TEXT, pickle),
        "sklearn-array": ("sklearn", encoded(2).fit(TEXT.to_numpy(), WORDS), TEXT, pickle),
        "sklearn-shares": (
            "sklearn", two, X, {**pickle, "pyfunc_predict_fn": "predict_proba"},
        ),
        "lightgbm-value": ("lightgbm", booster(HOLES, VALUE), HOLES, {}),
        "lightgbm-two": ("lightgbm", booster(HOLES, YES, objective="binary"), HOLES, {}),
        "lightgbm-three": (
            "lightgbm", booster(X, THREE, objective="multiclass", num_class=3), X, {},
        ),
        "lightgbm-words": (
            "lightgbm", lightgbm.LGBMClassifier(**FEW, verbose=-1).fit(HOLES, WORDS), HOLES, {},
        ),
        "lightgbm-array": ("lightgbm", booster(X.to_numpy(), VALUE), X, {}),
        "xgboost-value": ("xgboost", matrix(VALUE), HOLES, {}),
        "xgboost-two": ("xgboost", matrix(YES, objective="binary:logistic"), HOLES, {}),
        "xgboost-class": ("xgboost", xgboost.XGBClassifier(**FEW).fit(HOLES, YES), HOLES, {}),
        "xgboost-three": ("xgboost", xgboost.XGBClassifier(**FEW).fit(X, THREE), X, {}),
        "xgboost-json": (
            "xgboost", xgboost.XGBRegressor(**FEW).fit(X, VALUE), X, {"model_format": "json"},
        ),
        "xgboost-array": ("xgboost", xgboost.XGBRegressor(**FEW).fit(X.to_numpy(), VALUE), X, {}),
        "catboost-value": ("catboost", catboost.CatBoostRegressor(**CAT).fit(X, VALUE), X, {}),
        "catboost-words": (
            "catboost",
            catboost.CatBoostClassifier(cat_features=["plan"], **CAT).fit(TEXT, WORDS), TEXT, {},
        ),
        "catboost-array": (
            "catboost",
            catboost.CatBoostClassifier(cat_features=[2], **CAT).fit(TEXT.to_numpy(), WORDS), TEXT,
            {},
        ),
        "catboost-three": ("catboost", catboost.CatBoostClassifier(**CAT).fit(X, THREE), X, {}),
        "onnx-value": ("onnx", as_onnx(LinearRegression(), VALUE), X.astype("float32"), {}),
        "onnx-two": ("onnx", as_onnx(LogisticRegression()), X.astype("float32"), {}),
    }  # fmt: skip


def plain(found: object) -> object:
    """Return predictions as JSON: a list, or lists by name."""
    if isinstance(found, pd.DataFrame):
        found = {str(name): column.to_numpy() for name, column in found.items()}
    if isinstance(found, dict):
        return {name: plain(value) for name, value in found.items()}
    return np.asarray(found).tolist()


def main() -> None:
    expected = {}
    for name, (flavor, model, rows, settings) in models().items():
        place, some = f"{FOLDER}/{name}", rows.head(20)
        own = getattr(mlflow, flavor)
        signature = mlflow.models.infer_signature(some)
        key = "onnx_model" if flavor == "onnx" else f"{flavor[:3]}_model"
        key = {"sklearn": "sk_model", "lightgbm": "lgb_model", "catboost": "cb_model"}.get(
            flavor, key
        )
        more = {"pip_requirements": [flavor], **settings}
        own.save_model(**{key: model}, path=place, signature=signature, **more)
        found = mlflow.pyfunc.load_model(place).predict(some)
        expected[name] = {"rows": json.loads(some.to_json(orient="records")), "found": plain(found)}
    with open(f"{FOLDER}/expected.json", "w") as file:
        json.dump(expected, file)


if __name__ == "__main__":
    main()
