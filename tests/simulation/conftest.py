from __future__ import annotations

import os

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--seed", type=int, default=None, help="simulation: this one, with its trace")


@pytest.fixture
def seed(request) -> int | None:
    """Return the seed to replay: `pytest tests/simulation --seed N`, or RDV_SIM_SEED=N."""
    given = request.config.getoption("--seed", default=None)
    text = os.environ.get("RDV_SIM_SEED", "")
    return given if given is not None else int(text) if text else None
