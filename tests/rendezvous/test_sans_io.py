"""Check that the pure packages use no clock, files, threads, randomness or heavy imports."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import rdv

ROOT = Path(rdv.__file__).parent
FORBIDDEN = {
    "os",
    "time",
    "socket",
    "threading",
    "asyncio",
    "random",
    "pathlib",
    "io",
    "subprocess",
}
MODULES = [
    path for floor in ("messages", "schedule", "rendezvous") for path in (ROOT / floor).glob("*.py")
]


@pytest.mark.parametrize("path", MODULES, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_imports(path: Path) -> None:
    imported = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            imported |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            imported.add((node.module or "").split(".")[0])
    assert not imported & FORBIDDEN
    assert not imported & {"numpy", "pyarrow"}


def test_numpy_stays_out() -> None:
    code = "import sys, rdv.rendezvous; assert not {'numpy', 'pyarrow'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
