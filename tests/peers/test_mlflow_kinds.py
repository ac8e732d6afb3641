"""Check MLflow folders of each library: rdv answers as `mlflow.pyfunc` does, in any environment."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import httpx
import orjson
import pytest
from ports import free_port
from waiting import wait_until

from rdv.models import evaluate, open_model
from rdv.models.adapters.mlflow import GENERIC

SCRIPT = Path(__file__).parent / "mlflow_kinds.py"
NAMES = (
    "sklearn-value", "sklearn-two", "sklearn-three", "sklearn-text", "sklearn-array",
    "sklearn-shares", "lightgbm-value", "lightgbm-two", "lightgbm-three", "lightgbm-words",
    "lightgbm-array", "xgboost-value", "xgboost-two", "xgboost-class", "xgboost-three",
    "xgboost-json", "xgboost-array", "catboost-value", "catboost-words", "catboost-array",
    "catboost-three", "onnx-value", "onnx-two",
)  # fmt: skip
HERE = [name for name in NAMES if not name.startswith("catboost")]
"""Those whose libraries are in the project's own environment, which has no MLflow."""
ELSEWHERE = [
    *(name for name in NAMES if name not in HERE),
    "sklearn-array",
    "lightgbm-words",
    "onnx-two",
]
QUIET = {"MLFLOW_DISABLE_TELEMETRY": "true", "GIT_PYTHON_REFRESH": "quiet"}
RULES = """
import sys
import pandas as pd
import mlflow

class Rules(mlflow.pyfunc.PythonModel):
    def predict(self, context, model_input, params=None):
        import tiny
        return pd.DataFrame({"score": model_input["amount"] * tiny.FACTOR})

inputs = mlflow.models.infer_signature(pd.DataFrame({"amount": [1.0, 2.0]}))
mlflow.pyfunc.save_model(
    sys.argv[1], python_model=Rules(), signature=inputs, pip_requirements=["tiny==1.0"]
)
print(mlflow.__version__)
"""


@pytest.fixture(scope="module")
def saved(peer_python: Callable[[str], str], tmp_path_factory: pytest.TempPathFactory):
    """Return the folder of the models, what MLflow itself predicts, and its interpreter."""
    place, python = tmp_path_factory.mktemp("kinds"), peer_python("mlflow")
    command = [python, "-W", "ignore", str(SCRIPT), str(place)]
    environ = {**os.environ, **QUIET}
    done = subprocess.run(command, env=environ, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    expected = json.loads((place / "expected.json").read_text())
    assert tuple(expected) == NAMES
    return place, expected, python


def answers(place: Path, name: str, rows: list, **settings) -> list:
    model = open_model(str(place), "m", path=name, start_timeout_ms=240_000, **settings)
    try:
        outcomes = evaluate(model, [orjson.dumps(row) for row in rows])
    finally:
        model.close()
    assert all(isinstance(one, bytes) for one in outcomes), outcomes
    return [orjson.loads(one) for one in outcomes]


def same(answer: dict, value: object) -> bool:
    """Return whether an answer of rdv says what MLflow predicts for its row."""
    if isinstance(value, list):
        shares = answer.get("probabilities", {})
        if not shares:
            shares = {0: 1 - answer["score"], 1: answer["score"]}
        return list(shares.values()) == pytest.approx(value, abs=1e-6)
    known = [answer[key] for key in ("label", "score", "value") if key in answer]
    if isinstance(value, (str, int)):
        return known[0] == value
    return any(one == pytest.approx(value, rel=1e-5) for one in known)


def column(found: object) -> list:
    """Return the predictions row by row."""
    if isinstance(found, dict):  # of ONNX, by output; the first one is the label or the value
        found = next(iter(found.values()))
    assert isinstance(found, list)
    return [one[0] if isinstance(one, list) and len(one) == 1 else one for one in found]


def check(expected: dict, name: str, found: list) -> None:
    """Compare answers of rdv with the predictions of MLflow, row by row."""
    rows, predicted = expected[name]["rows"], column(expected[name]["found"])
    for row, answer, value in zip(rows, found, predicted, strict=True):
        assert same(answer, value), (row, answer, value)


@pytest.mark.parametrize("name", HERE)
def test_without_mlflow_a_folder_answers_as_mlflow_does(saved, name: str) -> None:
    with pytest.raises(PackageNotFoundError):
        version("mlflow")
    place, expected, _ = saved
    check(expected, name, answers(place, name, expected[name]["rows"]))


@pytest.mark.parametrize("name", ELSEWHERE)
def test_in_its_own_environment_a_folder_answers_as_mlflow_does(saved, name: str) -> None:
    place, expected, python = saved
    check(expected, name, answers(place, name, expected[name]["rows"], python=python))


@pytest.mark.parametrize("name", ["catboost-words", "lightgbm-two"])
def test_mlflow_itself_loads_it_if_that_is_wanted(saved, name: str) -> None:
    place, expected, python = saved
    options = {"flavor": GENERIC}
    rows = expected[name]["rows"]
    check(expected, name, answers(place, name, rows, python=python, options=options))


def wheel(folder: Path, name: str, number: str, files: dict[str, str]) -> None:
    """Make a wheel by hand."""
    about = f"Metadata-Version: 2.1\nName: {name}\nVersion: {number}\n"
    tags = "Wheel-Version: 1.0\nGenerator: x\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    facts = {"METADATA": about, "WHEEL": tags, "RECORD": ""}
    with zipfile.ZipFile(folder / f"{name}-{number}-py3-none-any.whl", "w") as file:
        for path, text in files.items():
            file.writestr(path, text)
        for path, text in facts.items():
            file.writestr(f"{name}-{number}.dist-info/{path}", text)


def rdv(*words: object, **environ: str) -> None:
    command = [sys.executable, "-m", "rdv", *map(str, words)]
    done = subprocess.run(
        command, env={**os.environ, **environ}, check=False, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_its_list_of_libraries_is_installed_once_and_served_without_a_network(
    peer_python: Callable[[str], str], tmp_path: Path
) -> None:
    """MLflow itself is large: its wheel here makes that of the environment importable."""
    python, index, shop = peer_python("mlflow"), tmp_path / "index", tmp_path / "shop"
    index.mkdir()
    environ = {**os.environ, **QUIET}
    wheel(index, "tiny", "1.0", {"tiny.py": "FACTOR = 3.0\n"})
    (index / "tiny.py").write_text("FACTOR = 2.0\n")  # while MLflow saves the model
    release = subprocess.check_output(
        [python, "-W", "ignore", "-c", RULES, str(tmp_path / "rules")],
        env={**environ, "PYTHONPATH": str(index)},
        text=True,
    ).split()[-1]
    lines = (tmp_path / "rules" / "requirements.txt").read_text().split()
    assert {f"mlflow=={release}", "tiny==1.0"} <= set(lines)
    places = subprocess.check_output(
        [python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"], text=True
    )
    wheel(index, "mlflow", release, {"mlflow_of_the_peers.pth": places})

    port = free_port()
    rdv("init", shop, "--template", "blank")
    schedule = 'sla_ms = 20000\ndefault = {}\n[[step]]\naccept = ["rules"]\n'
    (shop / "schedules" / "production.toml").write_text(schedule)
    shutil.copytree(tmp_path / "rules", shop / "models" / "rules")
    add = ["model", "add", shop, "rules", "--path", "models/rules"]
    local = {"UV_NO_INDEX": "1", "UV_FIND_LINKS": str(index)}
    local |= {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(index)}
    rdv(*add, "--requirements", "models/rules/requirements.txt", **local)
    made = list((shop / ".rdv" / "environments").glob("*/pyvenv.cfg"))
    assert len(made) == 1
    signs = made[0].stat()
    shutil.rmtree(index)

    log = tmp_path / "serve.log"
    with log.open("wb") as stderr:
        process = subprocess.Popen(
            [sys.executable, "-m", "rdv", "serve", shop, "--port", str(port)], stderr=stderr
        )
    try:
        lines = ("rules-0 is ready", "listening on")
        wait_until(lambda: all(one in log.read_text() for one in lines), log.read_text, 0.1)
        body = {"data": {"amount": 2.5}}
        answer = httpx.post(f"http://127.0.0.1:{port}/v1/decide", json=body, timeout=60).json()
        assert (answer["model"], answer["result"]) == ("rules", {"score": 7.5})
    finally:
        process.terminate()
        process.wait(60)
    assert list((shop / ".rdv" / "environments").glob("*/pyvenv.cfg")) == made
    assert made[0].stat() == signs
