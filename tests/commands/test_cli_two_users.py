"""Another local user can read nothing and lock nothing of what rdv makes in a decision, unless
`log.mode` lets that user read.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import stat
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import pytest
from forking import STRANGER, Forker, User

GROUP = 54321

# Sees each path from inside, so that no folder above the decision protects it.
LOOK = """
import json, os, sys
os.chdir(sys.argv[1])
os.setgroups([int(g) for g in sys.argv[2].split()])
os.setgid(65534)
os.setuid(65534)
found = []
for path in json.load(sys.stdin):
    for flags in (os.O_RDONLY, os.O_WRONLY):
        try:
            os.close(os.open(path, flags | os.O_NONBLOCK))
        except OSError:
            continue
        found.append(path)
json.dump(found, sys.stdout)
"""

STREAMS = ("input", "scores", "results", "control", "outcomes")


def everything(place: Path) -> dict[str, int]:
    """Modes of all files and directories in it, by their relative paths; bytecode apart."""
    found = {}
    for path in place.rglob("*"):
        if "__pycache__" not in path.parts:
            with contextlib.suppress(FileNotFoundError):  # a temporary file
                found[os.path.relpath(path, place)] = bits(path)
    return found


def opened_by(groups: str, place: Path, paths: Iterable[str]) -> set[str]:
    """Which of the files another user can open, and so read or lock."""
    done = subprocess.run(
        [sys.executable, "-IS", "-c", LOOK, str(place), groups],
        input=json.dumps(sorted(paths)).encode(),
        stdout=subprocess.PIPE,
        check=True,
    )
    return set(json.loads(done.stdout))


def bits(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


def share(place: Path, mode: int) -> None:
    """Give all files of a decision a mode, as a `git clone` or a `chmod -R` does."""
    for path in [place, *place.rglob("*")]:
        os.chmod(path, mode | (mode & 0o444) >> 2 if path.is_dir() else mode)


@pytest.fixture
def place(decision: Path) -> Path:
    """A decision whose own files anybody may read."""
    place = decision.resolve()
    share(place, 0o644)
    return place


@pytest.fixture
def busy(place, serve, rdv):
    """Makes the decision live with that `log.mode`, and has all kinds of files made in it."""

    def make(mode: str, *, is_shared: bool = False) -> dict[str, int]:
        settings = place / "rdv.toml"
        text = settings.read_text().replace("\n[log]\n", f'\n[log]\nmode = "{mode}"\n')
        settings.write_text(text)
        if is_shared:
            for path in [place, *place.rglob("*")]:
                os.chown(path, -1, GROUP)
            os.chmod(place, 0o2755)
        own = everything(place)
        make.served = serve()
        make.id = rdv("ask", "fraud", "{}").row()["id"]
        assert rdv("outcome", "fraud", make.id, "1").code == 0
        assert rdv("export", "fraud", "-o", "fraud/exported").code == 0
        assert rdv("schedule", "use", "fraud", "production").code == 0
        made = {path: mode for path, mode in everything(place).items() if path not in own}
        assert {".rdv/serve.lock", ".rdv/holder.json", "exported", *STREAMS} <= made.keys()
        return made

    return make


def test_another_user_can_neither_read_nor_lock_rdvs_files(place, busy):
    made = busy("0600")
    assert {path for path, mode in made.items() if mode & 0o077} == set()
    if os.geteuid() == 0:
        assert opened_by("", place, made) == set()
        assert opened_by("", place, {"rdv.toml"}) == {"rdv.toml"}
    assert busy.served.end() == 0


def test_a_group_reads_the_log_and_locks_nothing_that_serve_needs(place, busy):
    is_root = os.geteuid() == 0
    made = busy("0640", is_shared=is_root)
    assert {path for path, mode in made.items() if mode & 0o007} == set()
    private = {path for path in made if path.startswith((".rdv", "exported"))}
    shown = {".rdv/accepted", ".rdv/accepted/settings.json", ".rdv/holder.json"}
    read = {path for path, mode in made.items() if mode & 0o040}
    assert read == (made.keys() - private) | shown
    written = {path for path, mode in made.items() if mode & 0o020}
    assert {path.split("/")[1] for path in written} == {".doorbells"}
    if is_root:
        assert opened_by(str(GROUP), place, private) == shown
        assert opened_by("", place, made) == set()
        looked_at_by_a_member(place, busy)
    else:
        assert busy.served.end() == 0


def looked_at_by_a_member(place, busy):
    member, stranger = User(STRANGER, (GROUP,)), User(STRANGER)
    with Forker() as forker:

        def run(*arguments, user=member):
            return forker.run(*arguments, place=place, user=user)

        code, out, err = run("status", ".", "--json")
        assert (code, err) == (0, ""), err
        served = json.loads(out)
        assert served["served_by"] == busy.served.process.pid
        assert len(served["addresses"]) == 1
        assert "not served" not in run("status", ".")[1]
        assert run("explain", ".", busy.id)[0] == 0
        assert busy.id in run("tail", "results")[1]
        assert run("verify", ".")[0] == 0
        assert run("ask", ".", "{}")[0] == 0
        code, _, err = run("status", ".", user=stranger)
        assert (code, "no permission" in err) == (1, True), err
        # What an older version has left closed is not taken for an end.
        os.chmod(place / ".rdv", 0o700)
        code, out, err = run("status", ".")
        assert (code, "cannot be seen: no permission" in out) == (0, True), (out, err)
        os.chmod(place / ".rdv", 0o710)
        busy.served.process.kill()
        busy.served.process.wait()
        assert json.loads(run("status", ".", "--json")[1])["served_by"] is None


def test_what_init_makes_is_its_owners(rdv, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    before = os.umask(0o022)
    try:
        assert rdv("init", "new").code == 0
    finally:
        os.umask(before)
    place = tmp_path / "new"
    made = everything(place) | {".": bits(place)}
    assert {path for path, mode in made.items() if mode & 0o077} == set()


def test_a_lock_that_an_older_version_has_left_readable_is_taken_from_others(place, serve):
    (place / ".rdv/accepted").mkdir(parents=True)
    lock = place / ".rdv" / "serve.lock"
    lock.touch()
    for path in (place / ".rdv", place / ".rdv/accepted"):
        os.chmod(path, 0o755)
    os.chmod(lock, 0o644)
    served = serve()
    assert bits(place / ".rdv") == 0o700
    assert bits(place / ".rdv/accepted") == 0o700
    assert bits(lock) == 0o600
    with lock.open("r+") as file, pytest.raises(BlockingIOError):
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    assert served.end() == 0


def test_a_directory_that_is_replaced_ends_its_serve(place, serve, tmp_path):
    served = serve()
    place.rename(tmp_path / "old")
    place.mkdir()
    served.until("has been replaced by another directory")
    assert served.end() == 1
    assert everything(place) == {}, "something was written into the new one"
    assert not [line for line in served.lines if "successor" in line]
