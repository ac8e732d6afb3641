"""Train the models of each template once in a test run, for all of its processes."""

from __future__ import annotations

import fcntl
import os
import shutil
from pathlib import Path

import msgspec
import pytest

from rdv.decision import init_decision
from rdv.decision.init import InitReport


class Trained:
    """Makes decisions of templates in a directory that the test processes share."""

    def __init__(self, factory: pytest.TempPathFactory) -> None:
        base = factory.getbasetemp()
        self._shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base

    def report(self, template: str) -> InitReport:
        """Return what `init_decision` said of the template; its directory is not to be changed."""
        place = self._shared / "trained" / template
        place.parent.mkdir(exist_ok=True)
        with place.with_suffix(".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            saved = place.with_suffix(".json")
            if not saved.exists():
                saved.write_bytes(msgspec.json.encode(init_decision(str(place), template)))
            return msgspec.json.decode(saved.read_bytes(), type=InitReport)

    def copy(self, template: str, target: str | Path) -> Path:
        """Copy the decision of a template to `target`, which must not exist."""
        return Path(shutil.copytree(self.report(template).directory, target))


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    return Trained(tmp_path_factory)
