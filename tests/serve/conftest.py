from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from running import MODELS, Decision, write_decision


@pytest.fixture(scope="module")
def decision(tmp_path_factory):
    """Run two proxies, a server and three models; each test leaves them as it found them."""
    directory = tmp_path_factory.mktemp("decision") / "fraud"
    decision = Decision(directory, write_decision(directory, proxies=2))
    try:
        decision.start("server", *MODELS, "proxy-0", "proxy-1")
        decision.await_ready()
        yield decision
    finally:
        decision.close()
