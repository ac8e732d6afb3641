"""Check the example: three commands from a folder that real MLflow has saved to an SLA."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import httpx
from ports import free_port
from waiting import wait_until

BLOCK = re.compile(r"```sh\n(.*?)```", re.DOTALL)
EXAMPLE = Path(__file__).parents[2] / "examples" / "mlflow"


def test_three_commands_from_a_folder_to_an_sla(
    peer_python: Callable[[str], str], tmp_path: Path
) -> None:
    environ = {**os.environ, "MLFLOW_DISABLE_TELEMETRY": "true", "GIT_PYTHON_REFRESH": "quiet"}
    start, ask = BLOCK.findall((EXAMPLE / "README.md").read_text())[:2]
    train, init, serve = map(shlex.split, start.splitlines())
    assert (train[:2], init[:2], serve) == (
        ["python", "train.py"],
        ["rdv", "init"],
        ["rdv", "serve", "shop"],
    )
    # The project's README has the same commands, with another row.
    readme = next(
        block
        for block in BLOCK.findall((EXAMPLE.parents[1] / "README.md").read_text())
        if "mlflow_folder" in block
    )
    *short, other_ask = readme.replace("path/to/mlflow_folder", "payments_mlflow").splitlines()
    assert list(map(shlex.split, short)) == [init, serve]
    shutil.copy(EXAMPLE / "train.py", tmp_path)
    train[0] = peer_python("mlflow")
    subprocess.run(train, cwd=tmp_path, env=environ, check=True, capture_output=True, timeout=240)
    rdv = [sys.executable, "-m", "rdv"]
    init[:1] = rdv
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
    serve = [*rdv, *serve[1:], "--port", str(port)]
    with log.open("wb") as stderr:
        process = subprocess.Popen(serve, cwd=tmp_path, stderr=stderr)
    try:
        lines = ("gbm-0 is ready", "listening on")
        wait_until(lambda: all(one in log.read_text() for one in lines), log.read_text, 0.1)
        *_, url, _, body = shlex.split(ask)
        url = url.replace("8100", str(port))
        answer = httpx.post(url, content=body, timeout=60).json()
        assert answer["kind"] == "preferred"
        assert answer["result"]["label"] == 1
        assert answer["result"]["score"] > 0.9
        *_, other_url, _, body = shlex.split(other_ask)
        assert other_url.replace("8100", str(port)) == url
        answer = httpx.post(url, content=body, timeout=60).json()
        assert (answer["kind"], answer["result"]["label"]) == ("preferred", 0)
    finally:
        process.terminate()
        process.wait(60)
