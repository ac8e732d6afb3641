"""Check PyTorch files with the real library, where an environment `torch` has been made.

PyTorch is too large for CI: `make peers` does not make this environment, and without it the file is
not collected (`conftest.py`).
"""

import subprocess
from collections.abc import Callable
from pathlib import Path

import rdv.models.adapters


def test_torch_files_are_as_pytorch_says(peer_python: Callable[[str], str]) -> None:
    script = str(Path(__file__).parent / "check_torch.py")
    (adapters,) = rdv.models.adapters.__path__
    subprocess.run([peer_python("torch"), script, adapters], check=True)
