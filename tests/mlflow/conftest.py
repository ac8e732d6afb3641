"""A fake registry, and a decision with a model of it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from registry import SCHEDULE, FakeRegistry, fake_registry, write_decision


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("URI", "TOKEN", "USERNAME", "PASSWORD"):
        monkeypatch.delenv(f"MLFLOW_TRACKING_{name}", raising=False)


@pytest.fixture
def registry() -> Iterator[FakeRegistry]:
    with fake_registry() as found:
        found.add("1")
        found.aliases["champion"] = "1"
        yield found


@pytest.fixture
def decision(tmp_path: Path, registry: FakeRegistry) -> Path:
    place = tmp_path / "shop"
    (place / "schedules").mkdir(parents=True)
    (place / "schedules" / "production.toml").write_text(SCHEDULE)
    write_decision(place, f'tracking_uri = "{registry.url}"')
    return place
