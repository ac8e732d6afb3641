"""Check that `import rdv` is light, and that its names are the ones that mypy and IDEs see."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import rdv

HEAVY = {
    "numpy", "pyarrow", "httpx", "httpcore", "pandas", "polars", "msgspec", "orjson", "asyncio",
    "typer", "rich", "uvloop", "psutil", "logging", "re", "dataclasses", "inspect",
}  # fmt: skip


def loaded_by(code: str) -> set[str]:
    """Return the modules that a new interpreter has loaded after `code`, by their first names."""
    code = f"import sys; before = set(sys.modules); {code}; print(*set(sys.modules) - before)"
    found = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True, timeout=60
    )
    return {name.partition(".")[0] for name in found.stdout.split()}


def test_import_rdv_loads_nothing_heavy():
    assert loaded_by("import rdv; dir(rdv); rdv.__version__") & HEAVY == set()


@pytest.mark.parametrize("name", ["Client('http://127.0.0.1:1')", "AsyncClient('http://h')"])
def test_a_client_needs_neither_numpy_nor_pyarrow(name):
    loaded = loaded_by(f"import rdv; rdv.{name}")
    assert loaded & {"numpy", "pyarrow", "pandas", "typer"} == set()
    assert "httpx" in loaded


def test_the_names_for_mypy_are_the_names():
    tree = ast.parse(Path(rdv.__file__ + "i").read_text())
    typed = {}
    for node in tree.body:
        if isinstance(node, ast.ImportFrom):
            for alias in node.names:
                assert alias.name == alias.asname
                typed[alias.asname] = node.module
    assert typed == rdv._PLACES
    for name in rdv.__all__:
        assert getattr(rdv, name) is not None
        assert name in dir(rdv)
    with pytest.raises(AttributeError, match="nothing"):
        rdv.nothing  # noqa: B018
