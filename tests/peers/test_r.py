"""Run the example of a model in R, with Debian's R."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import orjson
import pytest
from debian import debian_program, install

from rdv.models import ModelError, evaluate, open_model

EXAMPLE = Path(__file__).parents[2] / "examples" / "r" / "limit.R"


@pytest.fixture(scope="module")
def rscript() -> str:
    """Return the program of R; Debian's packages are installed where they are missing."""
    has_json = ["Rscript", "-e", "library(jsonlite)"]
    if not shutil.which("Rscript") or subprocess.run(has_json, check=False).returncode:
        install("r-cran-jsonlite")
    return debian_program("Rscript", "r-base-core")


def test_a_model_in_r_answers_each_row(rscript: str, tmp_path: Path) -> None:
    command = [rscript, str(EXAMPLE)]
    model = open_model(str(tmp_path), "limit", command=command, start_timeout_ms=120_000)
    try:
        rows = [b'{"amount": 9000}', b'{"amount": 1234.5678901234}', b"{}", b"7", b'{"amount": 10}']
        review, exact, missing, number, accept = evaluate(model, rows)
        assert orjson.loads(review) == {"score": 0.9, "action": "review"}
        assert orjson.loads(exact)["score"] == pytest.approx(0.12345678901234, rel=1e-12)
        assert orjson.loads(accept)["action"] == "accept"
        for bad, reason in ((missing, "amount is not a number"), (number, "atomic vectors")):
            assert isinstance(bad, ModelError)
            assert reason in bad.reason
    finally:
        model.close()
