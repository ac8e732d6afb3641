"""Check that every way to change a file's content is noticed, and that the watch goes on."""

from __future__ import annotations

import os
import shutil
import threading

import pytest

from rdv.decision.watching import Watch

DEADLINE_S = 30


class Place:
    """Create a decision's folder as deployment tools lay it out, and watch one of its files."""

    def __init__(self, root):
        self.root = root
        self.releases = [root / "r1", root / "r2"]
        for number, release in enumerate(self.releases):
            (release / "schedules").mkdir(parents=True)
            (release / "schedules" / "live.toml").write_text(f"release {number}")
        self.changed = threading.Event()
        self.watch = None

    def start(self, path):
        self.path = path
        files = lambda: [str(path), str(path.parent)]  # noqa: E731
        self.watch = Watch(files, self.changed.set, print)
        self.watch.start()

    def sees(self, content):
        """Return whether the watch reports an edit after which the file has this content."""
        while self.changed.wait(DEADLINE_S):
            self.changed.clear()
            if content is None and not self.path.exists():
                return True
            if content is not None and self.path.exists() and self.path.read_text() == content:
                return True
        return False


@pytest.fixture
def place(tmp_path):
    place = Place(tmp_path)
    yield place
    place.watch.stop()


def write_in_place(path, text):
    path.write_text(text)


def write_and_rename(path, text):
    scratch = path.with_name(".live.toml.swp4711")
    scratch.write_text(text)
    os.replace(scratch, path)


def move_away_and_write(path, text):
    """Replace the file as vim does with backupcopy=no."""
    os.rename(path, path.with_name("live.toml~"))
    path.write_text(text)


def delete_and_write(path, text):
    path.unlink()
    path.write_text(text)


def replace_folder(path, text):
    new = path.parent.with_name("new-schedules")
    new.mkdir()
    (new / path.name).write_text(text)
    os.rename(path.parent, path.parent.with_name("old-schedules"))
    os.rename(new, path.parent)
    shutil.rmtree(path.parent.with_name("old-schedules"))


def delete_and_make_folder(path, text):
    shutil.rmtree(path.parent)
    path.parent.mkdir()
    path.write_text(text)


WAYS = [
    write_in_place,
    write_and_rename,
    move_away_and_write,
    delete_and_write,
    replace_folder,
    delete_and_make_folder,
]


@pytest.mark.parametrize("way", WAYS)
def test_an_edit_is_noticed_and_so_is_the_next_one(place, way):
    path = place.releases[0] / "schedules" / "live.toml"
    place.start(path)
    for number in range(3):
        way(path, f"edit {number}")
        assert place.sees(f"edit {number}")
    write_in_place(path, "the last")
    assert place.sees("the last")


def flip(link, target):
    scratch = link.with_name(link.name + ".new")
    os.symlink(target, scratch)
    os.replace(scratch, link)


@pytest.mark.parametrize("depth", ["directory", "schedules", "file", "data"])
def test_a_flipped_symlink_is_noticed_and_so_are_edits_of_its_target(place, depth):
    """The links are Capistrano's `current`, a folder, a file, and `..data` of a ConfigMap."""
    root, (first, second) = place.root, place.releases
    if depth == "directory":
        link, targets = root / "current", (first, second)
        path = link / "schedules" / "live.toml"
    elif depth == "schedules":
        (root / "d").mkdir()
        link, targets = root / "d" / "schedules", (first / "schedules", second / "schedules")
        path = link / "live.toml"
    elif depth == "file":
        (root / "d").mkdir()
        targets = tuple(r / "schedules" / "live.toml" for r in (first, second))
        link = path = root / "d" / "live.toml"
    else:
        (root / "d").mkdir()
        link, targets = root / "d" / "..data", (first / "schedules", second / "schedules")
        path = root / "d" / "live.toml"
        os.symlink("..data/live.toml", path)
    os.symlink(targets[0], link)
    place.start(path)
    flip(link, targets[1])
    assert place.sees("release 1")
    path.resolve().write_text("edited target")
    assert place.sees("edited target")
    flip(link, targets[0])
    assert place.sees("release 0")
    path.resolve().write_text("edited again")
    assert place.sees("edited again")


def test_a_folder_that_comes_later_is_watched(place):
    path = place.root / "later" / "schedules" / "live.toml"
    place.start(path)
    path.parent.mkdir(parents=True)
    path.write_text("there")
    assert place.sees("there")
    path.write_text("edited")
    assert place.sees("edited")
    shutil.rmtree(path.parent)
    assert place.sees(None)


def test_another_file_of_the_same_size_and_time_is_noticed(place):
    path = place.releases[0] / "schedules" / "live.toml"
    path.write_text("aaaa")
    place.start(path)
    scratch = place.root / "scratch"
    scratch.write_text("bbbb")
    found = path.stat()
    os.utime(scratch, ns=(found.st_atime_ns, found.st_mtime_ns))
    os.replace(scratch, path)
    assert place.sees("bbbb")
