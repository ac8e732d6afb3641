"""Run the examples of libraries: from training to an answer over HTTP, as their READMEs say.

Each is trained in a folder of its own. Then one decision has all of their models, side by side.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import urllib.request
from pathlib import Path

from ports import free_port

EXAMPLES = Path(__file__).parents[2] / "examples"
NAMES = ("lightgbm", "onnx", "scikit-learn", "xgboost")
BLOCK = re.compile(r"```sh\n(.*?)```", re.DOTALL)


def commands_of(name):
    """Return the README's commands as lists of words."""
    text = (EXAMPLES / name / "README.md").read_text()
    return [shlex.split(line) for block in BLOCK.findall(text) for line in block.splitlines()]


def answer_of(url, body):
    request = urllib.request.Request(url, json.dumps(body).encode())
    with urllib.request.urlopen(request, timeout=60) as response:
        return json.load(response)


def test_the_commands_of_the_readmes_give_answers(tmp_path):
    port = free_port()
    more = {"RDV_HTTP_PORT": str(port), "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    environment = {**os.environ, **more}
    rdv = str(Path(sys.executable).parent / "rdv")
    init, bodies = [], {}
    for name in NAMES:
        shutil.copytree(EXAMPLES / name, tmp_path / name)
        install, train, make, serve, ask = commands_of(name)
        assert install[:2] == ["pip", "install"]
        assert [train[0], serve] == ["python", ["rdv", "serve", "shop"]]
        subprocess.run(
            [sys.executable, *train[1:]], cwd=tmp_path / name, env=environment, check=True
        )
        *first, option, model, default, value = make
        assert first == ["rdv", "init", "shop"]
        init += [option, f"{name}={name}/{model.partition('=')[2]}"]
        bodies[name] = json.loads(ask[-1])
    subprocess.run(
        [rdv, "init", "shop", *init, default, value], cwd=tmp_path, env=environment, check=True
    )
    schedule = tmp_path / "shop/schedules/production.toml"
    # A slow machine needs more time: here only the answers count.
    text = re.sub(r"(sla_ms|until_ms) = (\d+)", r"\1 = \g<2>000", schedule.read_text())
    schedule.write_text(text)
    served = subprocess.Popen(
        [rdv, "serve", "shop"],
        cwd=tmp_path,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        missing = {"listening on", *(f"{name}-0 is ready" for name in NAMES)}
        for line in served.stdout:
            missing -= {words for words in missing if words in line}
            if not missing:
                break
        assert not missing
        url = ask[-3].replace("8100", str(port))
        for name, body in bodies.items():
            answer = answer_of(url, {**body, "models": [name]})
            assert answer["model"] == name, answer
            assert 0 < answer["result"]["score"] < 1
            assert answer["result"]["label"] in (0, 1)
    finally:
        served.terminate()
        served.communicate(timeout=60)
