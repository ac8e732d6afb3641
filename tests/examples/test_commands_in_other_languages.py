"""Run the examples of models in other languages, where their tools are installed."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import orjson
import pytest

from rdv.models import ModelError, evaluate, open_model

EXAMPLES = Path(__file__).parents[2] / "examples"


def node(tmp_path: Path) -> list[str]:
    return ["node", str(EXAMPLES / "node" / "limit.js")]


def go(tmp_path: Path) -> list[str]:
    program = str(tmp_path / "limit")
    environment = {**os.environ, "CGO_ENABLED": "0", "GOFLAGS": "-mod=mod", "GOTOOLCHAIN": "local"}
    source = str(EXAMPLES / "go" / "limit.go")
    subprocess.run(["go", "build", "-o", program, source], check=True, env=environment)
    return [program]


THERE = [command for command in (node, go) if shutil.which(command.__name__)]


@pytest.mark.parametrize("command", THERE)
def test_a_model_in_another_language_answers_each_row(command, tmp_path):
    model = open_model(str(tmp_path), "limit", command=command(tmp_path))
    try:
        rows = [b'{"amount": 9000}', b'{"amount": 10}', b"{}"]
        review, accept, bad = evaluate(model, rows)
        assert orjson.loads(review) == {"score": 0.9, "action": "review"}
        assert orjson.loads(accept)["action"] == "accept"
        assert isinstance(bad, ModelError)
        assert "amount" in bad.reason
    finally:
        model.close()
