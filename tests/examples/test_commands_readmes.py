"""Run the commands of the READMEs of models in other languages, where their tools are installed."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"
THERE = [name for name in ("go", "node") if shutil.which(name)]


@pytest.mark.parametrize("name", THERE)
def test_the_first_commands_add_the_model(trained, tmp_path, name):
    trained.copy("fraud", tmp_path / "fraud")
    shutil.copytree(EXAMPLES / name, tmp_path / "examples" / name)
    script = re.findall(r"```sh\n(.*?)```", (EXAMPLES / name / "README.md").read_text(), re.DOTALL)
    path = f"{os.path.dirname(sys.executable)}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "GOTOOLCHAIN": "local"}
    bash = {"cwd": tmp_path, "env": environment, "text": True, "timeout": 240}
    subprocess.run(["bash", "-ec", script[0]], check=True, **bash)
    lines = subprocess.check_output(["rdv", "model", "ls", "fraud", "--json"], **bash).splitlines()
    assert "limit" in {json.loads(line)["model"] for line in lines}
