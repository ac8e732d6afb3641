"""Check that `rdv model add` of a registry's model is done wholly or not at all."""

from __future__ import annotations

import errno
import os
import signal

import pytest
from registry import write_decision

from rdv.__main__ import main
from rdv.decision import edit, load_decision
from rdv.decision.registry import RegistryState, WriteBack, read_state, state_path
from rdv.mlflow.state import change_state

CHAMPION = "models:/fraud@champion"
WAITING = WriteBack(name="fraud", tags={"1": {"rdv.verdict": "pass"}})


@pytest.fixture
def empty(decision, registry):
    """A decision without the model, whose rdv.toml says where the registry is."""
    write_decision(decision, f'tracking_uri = "{registry.url}"')
    text = (decision / "rdv.toml").read_text()
    (decision / "rdv.toml").write_text(text.partition("[models")[0])
    return decision


def add(place, uri=CHAMPION, name="gbm"):
    return main(["model", "add", str(place), name, "--path", uri, "--no-check"])


def versions(place):
    return {name: one.version for name, one in load_decision(str(place), {}).models.items()}


def kill(*_):
    os.kill(os.getpid(), signal.SIGKILL)


def test_a_kill_between_both_files_leaves_nothing_that_counts(empty, registry, monkeypatch):
    before = (empty / "rdv.toml").read_text()
    child = os.fork()
    if child == 0:
        monkeypatch.setattr(edit, "write_text", kill)
        add(empty)
        os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    assert (empty / "rdv.toml").read_text() == before
    assert versions(empty) == {}
    registry.add("2")
    registry.aliases["champion"] = "2"
    assert add(empty) == 0
    assert versions(empty) == {"gbm": "2"}


@pytest.mark.parametrize("has_state", [False, True], ids=["new", "known"])
def test_a_file_that_cannot_be_replaced_leaves_the_state_as_it_was(empty, monkeypatch, has_state):
    old = RegistryState(uri="models:/other@x", versions={"gbm": "7"}, write_backs=[WAITING])
    if has_state:
        change_state(str(empty), "gbm", lambda _: old)

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    files = sorted(path for path in (empty / "models").rglob("*.json"))
    with monkeypatch.context() as patch:
        patch.setattr(edit, "write_text", full)
        assert add(empty) == 1
    assert sorted(path for path in (empty / "models").glob("*/*.json")) == files
    assert read_state(str(empty), "gbm") == (old if has_state else None)
    assert add(empty) == 0
    state = read_state(str(empty), "gbm")
    assert state is not None
    assert state.versions == {"gbm": "1"}
    assert state.write_backs == ([WAITING] if has_state else [])


@pytest.mark.parametrize(
    "refused", ["[models]\ngbm = { path = 'g.py' }\n", "[models.gbm-b]\npath = 'g.py'\n"]
)
def test_what_another_command_has_added_meanwhile_is_untouched(empty, monkeypatch, refused):
    """The other model of this name, or of its second version's, is there when both files change."""
    from rdv.mlflow import fetch

    other = RegistryState(uri="models:/other@x", versions={"gbm": "7"})
    real = fetch.fetch

    def slow(*arguments):
        found = real(*arguments)
        text = (empty / "rdv.toml").read_text()
        (empty / "rdv.toml").write_text(f"{text}\n{refused}")
        change_state(str(empty), "gbm", lambda _: other)
        return found

    monkeypatch.setattr(fetch, "fetch", slow)
    assert add(empty) == 3
    assert read_state(str(empty), "gbm") == other
    assert "champion" not in (empty / "rdv.toml").read_text()


def test_an_interrupt_between_both_files_leaves_the_state_as_it_was(empty, monkeypatch):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(edit, "write_text", interrupt)
    assert add(empty) == 130
    assert not os.path.exists(state_path(str(empty), "gbm"))
