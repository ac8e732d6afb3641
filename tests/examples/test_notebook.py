"""Run the notebook of `examples/notebook` in a real kernel."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient
from ports import free_port

NOTEBOOK = Path(__file__).parents[2] / "examples" / "notebook" / "decision.ipynb"


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_the_notebook_runs(trained, tmp_path, monkeypatch):
    trained.copy("fraud", tmp_path / "fraud")
    for path in (tmp_path / "fraud" / "schedules").glob("*.toml"):  # a busy machine has the time
        path.write_text(
            re.sub(r"(?m)^((?:sla|until)_ms = )(\d+)$", r"\g<1>\g<2>0", path.read_text())
        )
    monkeypatch.setenv("RDV_HTTP_PORT", str(free_port()))
    monkeypatch.setenv("JUPYTER_PLATFORM_DIRS", "1")
    programs = Path(sys.executable).parent  # rdv is beside the interpreter
    monkeypatch.setenv("PATH", f"{programs}{os.pathsep}{os.environ['PATH']}")
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    assert not any(cell.get("outputs") for cell in notebook.cells), "commit it without outputs"
    resources = {"metadata": {"path": str(tmp_path)}}
    NotebookClient(notebook, timeout=120, kernel_name="python3", resources=resources).execute()
    shown = [
        output["data"]
        for cell in notebook.cells
        for output in cell.get("outputs", [])
        if "data" in output
    ]
    reports = [data["text/html"] for data in shown if "@scope" in data.get("text/html", "")]
    assert len(reports) == 3  # compare, what if, explain
    assert all("<svg" in report for report in reports)
    assert "mlp" in shown[-1]["text/plain"]
