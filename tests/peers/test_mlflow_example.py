"""Check the example: three commands from a folder that real MLflow has saved to an SLA."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import httpx
from ports import free_port
from waiting import wait_until

EXAMPLE = Path(__file__).parents[2] / "examples" / "mlflow"


def test_three_commands_from_a_folder_to_an_sla(
    peer_python: Callable[[str], str], tmp_path: Path
) -> None:
    environ = {**os.environ, "MLFLOW_DISABLE_TELEMETRY": "true", "GIT_PYTHON_REFRESH": "quiet"}
    train = [peer_python("mlflow"), str(EXAMPLE / "train.py"), "payments_mlflow"]
    subprocess.run(train, cwd=tmp_path, env=environ, check=True, capture_output=True, timeout=240)

    rdv = [sys.executable, "-m", "rdv"]
    default = ["--default", '{"score": 0.0}']
    init = [*rdv, "init", "shop", "--model", "gbm=payments_mlflow", *default]
    subprocess.run(init, cwd=tmp_path, check=True, capture_output=True, timeout=240)
    # The example's SLA is 50 ms; whether this machine answers within it is not tested here.
    schedule = tmp_path / "shop" / "schedules" / "production.toml"
    schedule.write_text(
        schedule.read_text()
        .replace("sla_ms = 50", "sla_ms = 20000")
        .replace("until_ms = 30", "until_ms = 15000")
    )
    port = free_port()
    log = tmp_path / "serve.log"
    serve = [*rdv, "serve", "shop", "--port", str(port)]
    with log.open("wb") as stderr:
        process = subprocess.Popen(serve, cwd=tmp_path, stderr=stderr)
    try:
        wait_until(lambda: "gbm-0 is ready" in log.read_text(), log.read_text, 0.1)
        body = {"data": {"amount": 912.5, "count": 7}}
        answer = httpx.post(f"http://127.0.0.1:{port}/v1/decide", json=body, timeout=60).json()
        assert answer["kind"] == "preferred"
        assert answer["result"]["label"] == 1
        assert answer["result"]["score"] > 0.9
    finally:
        process.terminate()
        process.wait(60)
