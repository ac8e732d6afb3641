"""Check models behind HTTP with real model servers: MLServer, MLflow, FastAPI and LitServe."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from contextlib import contextmanager, suppress

import pytest
from ports import free_port
from waiting import wait_until

from rdv.decision import ModelConfig
from rdv.decision.remote import Remote
from rdv.models import ModelError, ModelNotLoaded, trouble_of
from rdv.models.remote import RemoteModel, check_server

pytestmark = [pytest.mark.timeout(300)]

FIT = """
import sys
from sklearn.linear_model import LinearRegression
import pandas as pd
rows = pd.DataFrame({"a": [0.0, 1.0, 2.0, 3.0], "b": [1.0, 0.0, 1.0, 0.0]})
model = LinearRegression().fit(rows if sys.argv[2] == "named" else rows.values, 2 * rows.a + rows.b)
"""
SAVE_JOBLIB = FIT + "import joblib; joblib.dump(model, sys.argv[1])"
SAVE_MLFLOW = FIT + (
    "import mlflow; mlflow.sklearn.save_model(model, sys.argv[1],"
    " signature=mlflow.models.infer_signature(rows, model.predict(rows)))"
)
FASTAPI = """
import sys, uvicorn
from fastapi import FastAPI, Header, HTTPException
from pydantic import BaseModel

class Row(BaseModel):
    a: float
    b: float

class Asked(BaseModel):
    rows: list[Row]

app = FastAPI()

@app.post("/score")
def score(asked: Asked, authorization: str = Header("")):
    if authorization != "Bearer s3cret":
        raise HTTPException(401, "who are you?")
    return {"predictions": [2 * row.a + row.b for row in asked.rows], "model_version": "f1"}

uvicorn.run(app, port=int(sys.argv[1]), log_level="warning")
"""
ODD = """
import asyncio, sys, uvicorn
from fastapi import FastAPI
from fastapi.responses import HTMLResponse, StreamingResponse

app = FastAPI()
asked = []

def answers(body):
    return [2 * row["a"] + row["b"] for row in body["rows"]]

@app.post("/base/score/")
def score(body: dict):
    return {"predictions": answers(body)}

@app.post("/slow")
def slow(body: dict):
    async def parts():
        for letter in str({"predictions": answers(body)}).replace("'", '"'):
            yield letter
            await asyncio.sleep(0.001)
    return StreamingResponse(parts(), media_type="application/json")

@app.post("/once")
def once(body: dict):
    asked.append(1)
    return {"predictions": answers(body)} if len(asked) > 1 else 1 / 0

@app.post("/fewer")
def fewer(body: dict):
    return {"predictions": answers(body)[1:]}

@app.post("/page")
def page(body: dict):
    return HTMLResponse("<!DOCTYPE html><title>Sign in</title>")

uvicorn.run(app, port=int(sys.argv[1]), log_level="critical", timeout_keep_alive=1)
"""
LITSERVE = """
import sys
import litserve

class Api(litserve.LitAPI):
    def setup(self, device):
        pass
    def decode_request(self, request):
        return request["rows"]
    def predict(self, rows):
        return [2 * row["a"] + row["b"] for row in rows]
    def encode_response(self, answers):
        return {"predictions": answers}

if __name__ == "__main__":
    litserve.LitServer(Api(), accelerator="cpu").run(
        port=int(sys.argv[1]), generate_client_file=False, log_level="warning"
    )
"""
ROWS = [b'{"a":1,"b":0}', b'{"a":2.5,"b":1}', b'{"a":-1,"b":3}']
ANSWERS = [2.0, 6.0, 1.0]


def values(url, protocol="json", **remote):
    return ModelConfig(http=url, protocol=protocol, remote=Remote(**remote)).remote_values()


@contextmanager
def running(command, directory):
    """Run a server, with all that it starts, for the time of a block."""
    with open(directory / "server.log", "wb") as log:
        process = subprocess.Popen(
            command, cwd=directory, stdout=log, stderr=log, start_new_session=True
        )
    try:
        yield process
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            process.wait(10)
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait(10)


@contextmanager
def asking(process, name, asked, environ=None):
    """Wait until the server answers the check, and open it as a model."""
    end_s = time.monotonic() + 240
    while True:
        try:
            check_server(name, asked, environ or {})
            break
        except ModelNotLoaded:
            assert process.poll() is None, "the server has ended"
            assert time.monotonic() < end_s, "the server never answered"
            time.sleep(0.2)
    model = RemoteModel(name, asked, predict_timeout_ms=30_000, environ=environ or {})
    try:
        wait_until(lambda: isinstance(model.predict(ROWS)[0], bytes), "no row was answered", 0.2)
        yield model
    finally:
        model.close()


def numbers(outcomes):
    return [pytest.approx(json.loads(one), abs=1e-6) for one in outcomes]


def test_fastapi(tmp_path, peer_python):
    (tmp_path / "server.py").write_text(FASTAPI)
    port, token = free_port(), {"TOKEN": "s3cret"}
    asked = values(f"http://localhost:{port}/score", token_env="TOKEN")
    with (
        running([peer_python("litserve"), "server.py", str(port)], tmp_path) as process,
        asking(process, "m", asked, token) as model,
    ):
        assert numbers(model.predict(ROWS)) == ANSWERS
        assert model.version == "f1"
        found = model.predict([*ROWS, b'{"a":"x","b":1}', ROWS[0]])
        assert numbers(found[:3] + found[4:]) == [*ANSWERS, 2.0]
        assert isinstance(found[3], ModelError)
        assert "422" in found[3].reason
        wrong = RemoteModel("m", asked, environ={"TOKEN": "other"})
        assert "401 Unauthorized: who are you?" in wrong.predict(ROWS)[0].reason
        wrong.close()
        assert not trouble_of(model).code


def test_a_server_with_unusual_hands_is_reported_clearly(tmp_path, peer_python):
    (tmp_path / "server.py").write_text(ODD)
    port = free_port()
    url = f"http://localhost:{port}"
    with running([peer_python("litserve"), "server.py", str(port)], tmp_path) as process:
        with asking(process, "m", values(f"{url}/base/score/")) as model:
            time.sleep(1.5)  # by now the server has closed the connection that was kept
            assert numbers(model.predict(ROWS)) == ANSWERS
        for path, says in (
            ("/base/score", f"307 Temporary Redirect; it redirects to {url}/base/score/"),
            ("/base/other", "404 Not Found"),
            ("/fewer", "it gave 2 predictions for 3 rows"),
            ("/page", "it begins with '<!DOCTYPE html><title>Sign in</title>'"),
        ):
            model = RemoteModel("m", values(url + path), predict_timeout_ms=30_000, environ={})
            found = model.predict(ROWS)
            model.close()
            assert all(isinstance(one, ModelError) and says in one.reason for one in found), found
        for path in ("/slow", "/once"):
            model = RemoteModel("m", values(url + path), predict_timeout_ms=30_000, environ={})
            assert numbers(model.predict(ROWS)) == ANSWERS
            model.close()


def test_litserve(tmp_path, peer_python):
    (tmp_path / "server.py").write_text(LITSERVE)
    port = free_port()
    with (
        running([peer_python("litserve"), "server.py", str(port)], tmp_path) as process,
        asking(process, "m", values(f"http://127.0.0.1:{port}/predict")) as model,
    ):
        assert numbers(model.predict(ROWS)) == ANSWERS


def test_mlserver(tmp_path, peer_python):
    python, port = peer_python("mlserver"), free_port(3)
    arguments = [str(tmp_path / "model.joblib"), "unnamed"]
    subprocess.run([python, "-c", SAVE_JOBLIB, *arguments], check=True)
    parameters = {"uri": "./model.joblib", "version": "v5"}
    inputs = [{"name": "in", "datatype": "FP64", "shape": [-1, 2]}]
    settings = {"name": "linear", "implementation": "mlserver_sklearn.SKLearnModel"}
    (tmp_path / "model-settings.json").write_text(
        json.dumps({**settings, "parameters": parameters, "inputs": inputs})
    )
    server = {"http_port": port, "grpc_port": port + 1, "metrics_port": port + 2}
    server |= {"parallel_workers": 0, "host": "127.0.0.1"}
    (tmp_path / "settings.json").write_text(json.dumps(server))
    asked = values(f"http://127.0.0.1:{port}", "oip", model="linear", columns=["a", "b"])
    with (
        running(
            [os.path.join(os.path.dirname(python), "mlserver"), "start", "."], tmp_path
        ) as process,
        asking(process, "m", asked) as model,
    ):
        assert numbers(model.predict(ROWS)) == ANSWERS
        assert model.version == "v5"
        found = model.predict([*ROWS, b'{"a":1}'])
        assert numbers(found[:3]) == ANSWERS
        assert "the data has no 'b'" in found[3].reason


def test_mlflow(tmp_path, peer_python, monkeypatch):
    python, port = peer_python("mlflow"), free_port()
    subprocess.run([python, "-c", SAVE_MLFLOW, str(tmp_path / "model"), "named"], check=True)
    serve = ["mlflow", "models", "serve", "-m", "model", "--env-manager", "local"]
    command = [python, "-m", *serve, "-p", str(port), "--workers", "1"]
    url = f"http://127.0.0.1:{port}"
    # mlflow starts its server by name.
    monkeypatch.setenv("PATH", f"{os.path.dirname(python)}:{os.environ['PATH']}")
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    with (
        running(command, tmp_path) as process,
        asking(process, "m", values(url, "mlflow")) as model,
    ):
        assert numbers(model.predict(ROWS)) == ANSWERS
        found = model.predict([*ROWS, b'{"a":1}'])
        assert numbers(found[:3]) == ANSWERS
        split = RemoteModel("m", values(url, "mlflow", dataframe="split"), environ={})
        assert numbers(split.predict(ROWS)) == ANSWERS
        split.close()
