"""Check the files that make up a model, the lock, and the lines of a pipe."""

from __future__ import annotations

import fcntl
import os
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rdv.decision import Decision, ModelConfig
from rdv.decision.files import Stamps, files_of
from rdv.decision.holder import holder_of
from rdv.serve.supervisor.child import LineSplitter
from rdv.serve.supervisor.lock import AlreadyServed, DirectoryReplaced, ServeLock
from rdv.system.made_of import MadeOf, footprint, hash_file, names_in, sign_of, write_made_of


def test_imports_and_names_are_followed():
    sources = {
        "gbm.py": 'from features import f\nimport numpy\nload("gbm")\n',
        "features.py": "from . import units\n",
        "units.py": 'TABLE = "rates.csv"\n',
        "other.py": 'load("other.npz")\n',
    }
    data = ["gbm.npz", "other.npz", "rates.csv", "serve.log"]
    expected = {"gbm.py", "features.py", "units.py", "gbm.npz", "rates.csv"}
    assert footprint("gbm.py", sources, data) == expected


def test_code_that_does_not_parse_is_a_file_all_the_same():
    assert footprint("bad.py", {"bad.py": "def ("}, ["bad.npz"]) == {"bad.py"}
    assert names_in("\0") == (set(), set())


def test_models_that_import_each_other_in_a_circle():
    sources = {"a.py": "import b", "b.py": "import a"}
    assert footprint("a.py", sources, []) == {"a.py", "b.py"}


@pytest.fixture
def place(tmp_path):
    (tmp_path / "models").mkdir()
    (tmp_path / "models/a.py").write_text("import shared\n")
    (tmp_path / "models/shared.py").write_text("")
    (tmp_path / "models/b.py").write_text("")
    (tmp_path / "run.sh").write_text("cat\n")
    models = {
        "a": ModelConfig(path="models/a.py"),
        "b": ModelConfig(path="models/b.py"),
        "c": ModelConfig(command=["bash", "run.sh"]),
        "gone": ModelConfig(path="models/gone.py"),
    }
    return Decision(directory=str(tmp_path), models=models)


def changed(stamps, place, edit):
    before = stamps.of(place)
    edit()
    after = stamps.of(place)
    return {name for name in after if after[name] != before[name]}


def test_an_edit_changes_only_the_stamps_of_models_that_use_the_file(place, tmp_path):
    stamps = Stamps()
    shared, script = tmp_path / "models/shared.py", tmp_path / "run.sh"
    gone = tmp_path / "models/gone.py"
    assert changed(stamps, place, lambda: shared.write_text("x = 1\n")) == {"a"}
    assert changed(stamps, place, lambda: script.write_text("tac\n")) == {"c"}
    assert changed(stamps, place, lambda: gone.write_text("y = 1\n")) == {"gone"}
    assert changed(stamps, place, shared.unlink) == {"a"}
    other = place.replace(
        models={**place.models, "b": ModelConfig(path="models/b.py", batch_max=2)}
    )
    assert stamps.of(other)["b"] != stamps.of(place)["b"]


def test_a_file_that_was_loaded_between_two_edits_has_changed(place, tmp_path):
    """It is what it was when it was last looked at, but the worker has loaded another state."""
    stamps, path = Stamps(), tmp_path / "models/b.py"

    def edit_load_and_undo():
        path.write_text("version = 2\n")
        loaded = {"models/b.py": (sign_of(str(path)), hash_file(str(path)))}
        write_made_of(str(tmp_path), "b", MadeOf("2", files=loaded))
        path.write_text("")

    assert changed(stamps, place, edit_load_and_undo) == {"b"}
    # The successor is being loaded, or does not start: only a further edit is another attempt.
    assert changed(stamps, place, lambda: None) == set()


def test_a_touched_file_has_not_changed(place, tmp_path):
    path = tmp_path / "models/b.py"
    assert changed(Stamps(), place, lambda: os.utime(path, ns=(1, 1))) == set()


def test_files_are_those_of_the_directory(place, tmp_path):
    names = [os.path.relpath(f, tmp_path) for f in files_of(place.directory, place.models["a"])]
    assert names == ["models/a.py", "models/shared.py"]


def test_the_lock_has_one_holder_and_names_it(tmp_path):
    assert holder_of(str(tmp_path)) is None
    with ServeLock(str(tmp_path), "127.0.0.1", [8100]):
        holder = holder_of(str(tmp_path))
        assert (holder.pid, holder.ports) == (os.getpid(), [8100])
        with pytest.raises(AlreadyServed) as caught:
            ServeLock(str(tmp_path), "127.0.0.1", [8100])
        assert f"process {os.getpid()} since " in caught.value.text()
    assert holder_of(str(tmp_path)) is None
    with ServeLock(str(tmp_path), "127.0.0.1", [8200]):
        assert holder_of(str(tmp_path)).ports == [8200]


def modes(*paths):
    return [os.stat(path).st_mode & 0o777 for path in paths]


def test_the_lock_is_its_owners_alone(tmp_path):
    """Other users must not open the lock, as they could hold it; an older version's is fixed."""
    run, file = tmp_path / ".rdv", tmp_path / ".rdv" / "serve.lock"
    with ServeLock(str(tmp_path), "127.0.0.1", [8100]):
        assert modes(run, file) == [0o700, 0o600]
    run.chmod(0o755)
    file.chmod(0o644)
    with ServeLock(str(tmp_path), "127.0.0.1", [8100]):
        assert modes(run, file) == [0o700, 0o600]


@pytest.mark.parametrize("gone", [".rdv/serve.lock", ".rdv"])
@pytest.mark.parametrize("is_replaced", [False, True])
def test_a_lock_that_was_deleted_is_taken_again(tmp_path, gone, is_replaced):
    file = tmp_path / ".rdv" / "serve.lock"
    with ServeLock(str(tmp_path), "127.0.0.1", [8100]) as lock:
        (tmp_path / gone).rename(tmp_path / "gone")
        if is_replaced:
            file.parent.mkdir(exist_ok=True)
            file.touch()
        lock.look()
        assert holder_of(str(tmp_path)).pid == os.getpid()
        with pytest.raises(AlreadyServed):
            ServeLock(str(tmp_path), "127.0.0.1", [8100])
        lock.look()
        assert holder_of(str(tmp_path)).ports == [8100]
    assert holder_of(str(tmp_path)) is None


def test_a_deleted_lock_file_lets_no_second_one_in(tmp_path):
    """This holds even before the first process checks its lock."""
    with ServeLock(str(tmp_path), "127.0.0.1", [8100]) as lock:
        (tmp_path / ".rdv" / "serve.lock").unlink()
        with pytest.raises(AlreadyServed):
            ServeLock(str(tmp_path), "127.0.0.1", [8200])
        lock.look()
        assert holder_of(str(tmp_path)).ports == [8100]


def test_the_new_holder_keeps_the_lock_of_a_renamed_directory(tmp_path):
    with ServeLock(str(tmp_path), "127.0.0.1", [8100]) as lock:
        (tmp_path / ".rdv").rename(tmp_path / "gone")
        with ServeLock(str(tmp_path), "127.0.0.1", [8200]):
            with pytest.raises(AlreadyServed):
                lock.look()
            assert holder_of(str(tmp_path)).ports == [8200]


def test_a_read_only_command_does_not_prevent_serving(tmp_path):
    with ServeLock(str(tmp_path), "127.0.0.1", [8100]):
        pass
    fd = os.open(tmp_path / ".rdv" / "serve.lock", os.O_RDONLY)
    fcntl.flock(fd, fcntl.LOCK_SH)
    threading.Timer(0.05, os.close, (fd,)).start()
    with ServeLock(str(tmp_path), "127.0.0.1", [8100]):
        assert holder_of(str(tmp_path)).ports == [8100]


@pytest.mark.parametrize("how", ["rename", "symlink"])
def test_a_directory_that_was_replaced_is_not_ours(tmp_path, how):
    first, second, place = tmp_path / "first", tmp_path / "second", tmp_path / "fraud"
    first.mkdir()
    second.mkdir()
    if how == "symlink":
        place.symlink_to(first)
    else:
        first.rename(place)
    with ServeLock(str(place), "127.0.0.1", [8100]) as lock:
        lock.look()
        place.unlink() if how == "symlink" else place.rename(first)
        lock.look()  # there is no directory at all
        place.symlink_to(second) if how == "symlink" else second.rename(place)
        with pytest.raises(DirectoryReplaced):
            lock.look()
    assert holder_of(str(place)) is None


def feed(pieces, limit=10):
    splitter = LineSplitter(limit)
    lines = [line for piece in pieces for line in splitter.feed(piece)]
    return lines + splitter.end()


def test_lines_are_put_together_and_long_ones_cut():
    assert feed([b"on", b"e\ntwo\r\n\nthr", b"ee"]) == ["one", "two", "", "three"]
    (first, second) = feed([b"x" * 30, b"x" * 30, b"\nshort\n"])
    assert first.startswith("x" * 10 + "…")
    assert second == "short"
    assert feed([b"\xff\n"]) == ["\\xff"]


@given(st.lists(st.binary(max_size=30), max_size=20))
def test_however_it_is_cut_into_pieces(pieces):
    whole = b"".join(pieces)
    expected = [
        line.decode("utf-8", "backslashreplace").rstrip("\r") for line in whole.split(b"\n")
    ]
    if not whole.rpartition(b"\n")[2]:
        expected.pop()
    assert feed(pieces, 10_000) == expected
