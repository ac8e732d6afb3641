"""Looking needs no free space: every reading command works on a full disk, and changes nothing.

The disk is a small tmpfs in namespaces of its own (user and mount), without a free byte or inode.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from forking import Forker
from test_cli_read_only import ANSWERED, commands, tree


def can_mount() -> bool:
    """Return whether this user may mount a file system in namespaces of its own."""
    if shutil.which("unshare") is None:
        return False
    mount = 'mount -t tmpfs none "$0"'
    done = subprocess.run(["unshare", "-rm", "sh", "-c", mount, "/proc"], check=False)
    return done.returncode == 0


pytestmark = [
    pytest.mark.timeout(300),
    pytest.mark.skipif(not can_mount(), reason="the machine allows no mount in a namespace"),
]

MOUNT = 'mount -t tmpfs -o size=32m,nr_inodes=3000 none "$0" && exec "$@"'

FILL = """
import os, sys
place = sys.argv[1]
for size in (65536, 1):
    try:
        with open(f"{place}/filler-{size}", "wb", 0) as file:
            while True:
                file.write(bytes(size))
    except OSError:
        pass
try:
    for n in range(2, 1_000_000):
        open(f"{place}/filler-{n}", "x").close()
except OSError:
    pass
at = os.statvfs(place)
assert (at.f_bavail, at.f_favail) == (0, 0), at
"""


class SmallDisk:
    """A directory that is a small file system, visible in the namespaces of `forker` alone."""

    def __init__(self, place: Path) -> None:
        place.mkdir()
        self.place = place
        self.forker = Forker("unshare", "-rm", "sh", "-c", MOUNT, str(place))
        self.inside = f"/proc/{self.forker.pid}/root{place}"
        """The directory, as it is seen from outside."""

    def command(self, *words: object) -> list[str]:
        """Return the command line that runs a program in the namespaces."""
        enter = ("nsenter", "--preserve-credentials", "-U", "-m", "-t", str(self.forker.pid))
        return [*enter, "--wd=" + self.inside, *map(str, words)]

    def fill(self) -> None:
        subprocess.run(self.command(sys.executable, "-c", FILL, self.place), check=True)

    def rdv(self, *words: str) -> tuple[int, str, str]:
        return self.forker.run(*words, place=self.place)


@pytest.fixture
def disk(tmp_path, monkeypatch) -> Iterator[SmallDisk]:
    disk = SmallDisk(tmp_path / "disk")
    with disk.forker:
        assert disk.rdv("--version")[0] == 0  # it is mounted from now on
        # Neither temporary files nor a home directory find space elsewhere.
        for name in ("TMPDIR", "HOME", "XDG_CACHE_HOME"):
            monkeypatch.setenv(name, str(disk.place))
        yield disk


def look(disk: SmallDisk, id_: str, elsewhere: Path) -> None:
    """Run every reading command; none may change anything on the disk."""
    before = tree(disk.inside)
    for command in commands(id_):
        words = [str(elsewhere) if word == "elsewhere" else word for word in command]
        code, out, err = disk.rdv(*words)
        assert code in ANSWERED, f"{words}: {code}\n{out}\n{err}"
        for wrong in ("Traceback", "disk is full", "No space left", "cannot write", "cannot make"):
            assert wrong not in err, f"{words}: {err}"
        after = tree(disk.inside)
        changed = {path for path in {*before, *after} if before.get(path) != after.get(path)}
        assert not changed, words


def test_a_decision_on_a_full_disk_can_be_looked_at(rdv, serve, decision, disk, tmp_path):
    served = serve()
    ids = [rdv("ask", "fraud", '{"amount": 1}', "--key", f"{n}").row()["id"] for n in range(5)]
    assert served.end() == 0
    shutil.copytree("fraud", f"{disk.inside}/fraud")
    disk.fill()
    code, _, err = disk.rdv("stream", "create", "fraud/made")
    assert (code, "disk" in err or "space" in err) == (1, True), err
    look(disk, ids[0], tmp_path / "out")
    assert ids[0] in disk.rdv("explain", "fraud", ids[0])[1]
    assert disk.rdv("status", "fraud")[0] == 0
    assert disk.rdv("verify", "fraud")[0] == 0
    assert disk.rdv("stream", "verify", "fraud/input")[0] == 0
