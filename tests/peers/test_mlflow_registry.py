"""Check models of a real MLflow server on SQLite, and real model folders."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from ports import free_port
from waiting import wait_until

from rdv.models import ModelError, evaluate, open_model
from rdv.stream import open_stream

HERE = Path(__file__).parent
SCHEDULE = """
sla_ms = 20000
default = { score = 0.0, label = 0 }
[[step]]
until_ms = 15000
accept = ["gbm"]
[[step]]
accept = ["gbm", "rules"]
"""
RULES = 'def predict(rows):\n    return [{"score": 0.5, "label": 0} for _ in rows]\n'
API = "/api/2.0/mlflow"
START_S = 240
"""The server imports for fifteen seconds on an idle machine."""


@dataclass
class Server:
    """A running `mlflow server`."""

    python: str
    place: Path
    port: int
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        command = [self.python, "-m", "mlflow", "server", "--port", str(self.port)]
        command += ["--backend-store-uri", f"sqlite:///{self.place}/mlflow.db", "--workers", "1"]
        command += ["--artifacts-destination", str(self.place / "artifacts")]
        environ = {
            **os.environ,
            "PATH": f"{Path(self.python).parent}:{os.environ['PATH']}",
            "MLFLOW_DISABLE_TELEMETRY": "true",
            "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",  # six more processes
            "MLFLOW_WEBHOOK_ALLOW_PRIVATE_IPS": "true",
            "MLFLOW_WEBHOOK_CACHE_TTL": "1",  # else a new webhook is unknown for a minute
            "MLFLOW_WEBHOOK_ALLOWED_SCHEMES": "http",
        }
        with open(self.place / "server.log", "ab") as log:
            self.process = subprocess.Popen(
                command, env=environ, stdout=log, stderr=log, start_new_session=True
            )
        end_s = time.monotonic() + START_S
        while not self.is_up():
            assert time.monotonic() < end_s, (self.place / "server.log").read_text()
            assert self.process.poll() is None, (self.place / "server.log").read_text()
            time.sleep(0.1)

    def is_up(self) -> bool:
        try:
            return httpx.get(f"{self.url}/health", timeout=5).status_code == 200
        except httpx.HTTPError:
            return False

    def stop(self) -> None:
        if self.process is not None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
            self.process = None

    def set_alias(self, alias: str, version: str) -> None:
        body = {"name": "fraud", "alias": alias, "version": version}
        url = f"{self.url}{API}/registered-models/alias"
        httpx.post(url, json=body, timeout=60).raise_for_status()

    def alias(self, alias: str) -> str:
        params = {"name": "fraud", "alias": alias}
        found = httpx.get(f"{self.url}{API}/registered-models/alias", params=params, timeout=60)
        return str(found.json()["model_version"]["version"])

    def tags(self, version: str) -> dict[str, str]:
        params = {"name": "fraud", "version": version}
        found = httpx.get(f"{self.url}{API}/model-versions/get", params=params, timeout=60)
        return {tag["key"]: tag["value"] for tag in found.json()["model_version"].get("tags", [])}


@pytest.fixture(scope="module")
def mlflow(
    peer_python: Callable[[str], str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    """Serve a registry with three versions of `fraud`; @champion names the first."""
    server = Server(peer_python("mlflow"), tmp_path_factory.mktemp("mlflow"), free_port())
    try:
        server.start()
        environ = {**os.environ, "MLFLOW_DISABLE_TELEMETRY": "true", "GIT_PYTHON_REFRESH": "quiet"}
        script = [server.python, str(HERE / "mlflow_models.py"), server.url, str(server.place)]
        subprocess.run(script, env=environ, check=True, capture_output=True, timeout=240)
        yield server
    finally:
        server.stop()


def rdv(*words: object, env: dict[str, str] | None = None, code: int = 0) -> str:
    command = [sys.executable, "-m", "rdv", *map(str, words)]
    done = subprocess.run(
        command,
        env={**os.environ, **(env or {})},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr


class Served:
    """A served decision; its log is in a file."""

    def __init__(self, place: Path, port: int) -> None:
        self.place, self.log = place, place.parent / "serve.log"
        self.client = httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60)

    def status(self) -> dict[str, Any]:
        return json.loads(rdv("status", self.place, "--json"))

    def state(self, model: str) -> str:
        rows = {row["model"]: row["state"] for row in self.status()["models"]}
        return rows.get(model, "")

    def await_ready(self, model: str) -> None:
        wait_until(lambda: self.state(model) == "ready", "not in time", 0.2)

    def await_line(self, text: str) -> None:
        wait_until(lambda: text in self.log.read_text(), "not in time", 0.1)

    def ask(self, count: int) -> dict[str, Any]:
        for number in range(count):
            data = {"amount": float(number % 10), "count": number % 3}
            found = self.client.post("/v1/decide", json={"data": data})
            answer: dict[str, Any] = found.json()
            assert found.status_code == 200, answer
        return answer


@contextmanager
def served(place: Path, port: int, env: dict[str, str]) -> Iterator[Served]:
    found = Served(place, port)
    with open(found.log, "wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "rdv", "serve", str(place)],
            env={**os.environ, **env},
            stderr=log,
        )
    try:
        found.await_line("  stop   Ctrl-C")
        yield found
    finally:
        found.client.close()
        process.terminate()
        process.wait(60)


def make(place: Path, more: str = "", poll_ms: int = 300) -> int:
    """Write a decision without a model of a registry; return its port."""
    port = free_port()
    (place / "models").mkdir(parents=True)
    (place / "schedules").mkdir()
    (place / "models" / "rules.py").write_text(RULES)
    (place / "schedules" / "production.toml").write_text(SCHEDULE)
    gate = "requests_min = 30\nlate_max = 1\nagreement_min = 0\nkappa_min = 0"
    text = f"[http]\nport = {port}\n[gate]\n{gate}\n[mlflow]\npoll_ms = {poll_ms}\n{more}\n"
    (place / "rdv.toml").write_text(text + '[models.rules]\npath = "models/rules.py"\n')
    return port


def test_a_moved_alias_is_judged_promoted_and_written_back(mlflow: Server, tmp_path: Path) -> None:
    place = tmp_path / "shop"
    port = make(place)
    env = {"MLFLOW_TRACKING_URI": mlflow.url}
    added = rdv("model", "add", place, "gbm", "--path", "models:/fraud@champion", env=env)
    assert "kind      mlflow" in added
    assert "amount number, count integer" in added
    with served(place, port, env) as shop:
        shop.await_ready("gbm")
        assert shop.ask(1)["version"].startswith("1@")

        mlflow.set_alias("champion", "2")
        shop.await_ready("gbm-b")
        assert shop.ask(40)["version"].startswith("1@")
        shop.await_line("[promotion_judged]")
        (row,) = shop.status()["registry"]
        assert row["versions"] == {"gbm": "1", "gbm-b": "2"}
        assert row["asks"]["verdict"]
        with open_stream(str(place / "control")) as control, control.consumer(["events"]) as reader:
            codes = [json.loads(record.value)["code"] for record in reader.poll(1000)]
        assert "promotion_asked" in codes
        assert "promotion_judged" in codes
        assert shop.ask(1)["model"] == "gbm"  # nothing switches by itself

        told = rdv("promote", place, "gbm-b", "--over", "gbm", "--yes", "--force", env=env)
        assert "MLflow: tagged fraud version 2; @champion names version 2" in told
        assert mlflow.tags("2")["rdv.over"] == "gbm version 1"
        assert mlflow.tags("2")["rdv.promoted_at"]
        answer = shop.ask(1)
        assert (answer["model"], answer["version"][:2]) == ("gbm-b", "2@")

        # The way back is a promotion as well, and moves the alias back.
        told = rdv("promote", place, "gbm", "--over", "gbm-b", "--yes", "--force", env=env)
        assert "@champion: version 2 → 1" in told
        assert mlflow.alias("champion") == "1"
        assert shop.ask(1)["version"].startswith("1@")


def test_a_version_that_passes_is_promoted_by_itself_if_that_is_wanted(
    mlflow: Server, tmp_path: Path
) -> None:
    place = tmp_path / "shop"
    mlflow.set_alias("own", "1")
    port = make(place, f'promote = "auto"\nwatch_ms = 1000\ntracking_uri = "{mlflow.url}"')
    rdv("model", "add", place, "gbm", "--path", "models:/fraud@own", "--no-check")
    with served(place, port, {}) as shop:
        shop.await_ready("gbm")
        mlflow.set_alias("own", "3")
        shop.await_ready("gbm-b")

        def is_promoted() -> bool:
            return bool(shop.ask(20)["model"] == "gbm-b")

        wait_until(is_promoted, "not in time", 0.2)
        wait_until(lambda: "rdv.promoted_at" in mlflow.tags("3"), "not in time", 0.2)


def test_a_webhook_of_the_server_is_noticed_at_once(mlflow: Server, tmp_path: Path) -> None:
    place, hook = tmp_path / "shop", free_port()
    mlflow.set_alias("hooked", "1")
    port = make(place, f'tracking_uri = "{mlflow.url}"\nwebhook_port = {hook}', 3_600_000)
    rdv("model", "add", place, "gbm", "--path", "models:/fraud@hooked", "--no-check")
    with served(place, port, {"MLFLOW_WEBHOOK_SECRET": "of both"}) as shop:
        shop.await_ready("gbm")
        events = [{"entity": "MODEL_VERSION_ALIAS", "action": "CREATED"}]
        body = {"name": "rdv", "url": f"http://127.0.0.1:{hook}/v1/mlflow", "events": events}
        url = f"{mlflow.url}/api/2.0/mlflow/webhooks"
        made = httpx.post(url, json={**body, "secret": "of both"}, timeout=60)
        assert made.status_code == 200, made.text
        mlflow.set_alias("hooked", "2")
        shop.await_line("models:/fraud@hooked is version 2 now")
        httpx.delete(f"{url}/{made.json()['webhook']['webhook_id']}", timeout=60)


def test_a_damaged_artifact_leaves_the_champion_alone(mlflow: Server, tmp_path: Path) -> None:
    params = {"name": "fraud", "version": "4"}
    url = f"{mlflow.url}{API}/model-versions/get-download-uri"
    where = httpx.get(url, params=params, timeout=60).json()["artifact_uri"]
    files = mlflow.place / "artifacts" / where.removeprefix("mlflow-artifacts:/")
    (files / "model.pkl").write_bytes(b"\x80\x04damaged")
    place = tmp_path / "shop"
    mlflow.set_alias("broken", "1")
    port = make(place, f'tracking_uri = "{mlflow.url}"')
    rdv("model", "add", place, "gbm", "--path", "models:/fraud@broken", "--no-check")
    with served(place, port, {}) as shop:
        shop.await_ready("gbm")
        mlflow.set_alias("broken", "4")
        shop.await_line("gbm-b-0  | error: model 'gbm-b'")
        assert shop.ask(3)["version"].startswith("1@")
        # The alias goes back: the version that cannot be loaded leaves.
        mlflow.set_alias("broken", "1")
        shop.await_line("gbm-b-0 is not wanted any more")


def test_what_the_registry_does_not_have_is_named(mlflow: Server, tmp_path: Path) -> None:
    place = tmp_path / "shop"
    make(place)
    env = {"MLFLOW_TRACKING_URI": mlflow.url}
    add = ("model", "add", place, "gbm", "--path")
    before = (place / "rdv.toml").read_text()
    assert "alias nix not found" in rdv(*add, "models:/fraud@nix", env=env, code=3)
    assert "not found" in rdv(*add, "models:/fraud/99", env=env, code=3)
    assert "not found" in rdv(*add, "models:/nix@champion", env=env, code=3)
    assert (place / "rdv.toml").read_text() == before


@pytest.mark.parametrize("own", [False, True])
def test_a_real_folder_is_a_model_with_and_without_mlflow(
    mlflow: Server, tmp_path: Path, own: bool
) -> None:
    place = tmp_path / "shop"
    make(place)
    shutil.copytree(mlflow.place / "sklearn", place / "models" / "gbm")
    python = ["--python", mlflow.python] if own else []
    facts = json.loads(
        rdv("model", "add", place, "gbm", "--path", "models/gbm", *python, "--json").split("\n")[0]
    )
    columns = {one["name"]: one["type"] for one in facts["check"]["columns"]}
    assert columns == {"amount": "number", "count": "integer"}


def test_a_folder_of_any_python_model_runs_by_mlflow_in_its_own_environment(
    mlflow: Server, tmp_path: Path
) -> None:
    shutil.copytree(mlflow.place / "rules", tmp_path / "rules")
    options = {"params": {"limit": 2.0}}
    model = open_model(str(tmp_path), "rules", path="rules", python=mlflow.python, options=options)
    try:
        good, bad = evaluate(model, [b'{"amount": 3, "count": 1}', b'{"amount": 3}'])
        assert json.loads(good) == {"score": 1.0, "count": 1}
        assert isinstance(bad, ModelError)
        assert "the model's signature requires 'count'" in bad.reason
    finally:
        model.close()


def test_without_the_server_a_decision_starts_with_what_was_downloaded(
    mlflow: Server, tmp_path: Path
) -> None:
    """The last test of this module: the server is gone after it."""
    place = tmp_path / "shop"
    port = make(place, f'tracking_uri = "{mlflow.url}"')
    rdv("model", "add", place, "gbm", "--path", "models:/fraud@champion", "--no-check")
    mlflow.stop()
    with served(place, port, {}) as shop:
        shop.await_ready("gbm")
        shop.await_line("gbm with version 1 goes on [mlflow_not_followed]")
        assert shop.ask(1)["version"].startswith("1@")
