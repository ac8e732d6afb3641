"""Check that each peer's environment has what its list of requirements names."""

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

LISTS = sorted((Path(__file__).parent / "environments").glob("*.txt"))


@pytest.mark.parametrize("requirements", LISTS, ids=lambda path: path.stem)
def test_an_environment_has_its_packages_without_conflicts(
    requirements: Path, peer_python: Callable[[str], str]
) -> None:
    python = peer_python(requirements.stem)
    subprocess.run([python, "-m", "pip", "check"], check=True)
