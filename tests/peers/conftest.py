"""Find the environments of the peers, which `make peers` makes."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

PEERS = os.environ.get("RDV_PEERS", "")

# Only `make test-peers` sets RDV_PEERS: a plain `pytest` does not need these environments.
collect_ignore_glob = [] if PEERS else ["*"]

# PyTorch is too large for CI: its test runs where there is an environment for it.
if not Path(PEERS, "torch", "bin", "python").is_file():
    collect_ignore_glob.append("test_torch.py")


@pytest.fixture(scope="session")
def peer_python() -> Callable[[str], str]:
    """Return the path of the interpreter of an environment by its name."""

    def find(name: str) -> str:
        python = Path(PEERS, name, "bin", "python")
        assert python.is_file(), f"make peers has not made the environment {name}"
        return str(python)

    return find
