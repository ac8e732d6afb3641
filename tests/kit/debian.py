"""Programs of Debian's packages, which a test with a real peer installs where they are missing."""

from __future__ import annotations

import os
import shutil
import subprocess


def debian_program(name: str, *packages: str) -> str:
    """Return the path of a program; install the packages (default: its own name) where missing."""
    if (found := shutil.which(name)) is None:
        install(*(packages or (name,)))
        found = shutil.which(name)
    assert found, f"{packages} does not have {name}"
    return found


def install(*packages: str, recommended: bool = False) -> None:
    """Install packages of Debian; with fresh lists of them where the known ones do not serve.

    `recommended`: with the packages that Debian recommends beside them.
    """
    more = [] if recommended else ["--no-install-recommends"]
    command = ["apt-get", "install", "-y", "-q", *more, *packages]
    environ = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    if subprocess.run(command, env=environ, check=False).returncode == 0:
        return
    subprocess.run(["apt-get", "update", "-q"], env=environ, check=True)
    subprocess.run(command, env=environ, check=True)
