"""Notice edits of files, however they are made.

The operating system reports changes in the watched folders at once. But a folder may be replaced (a
rename, a symlink that is flipped), and then the watched one is no longer the one at its path: so
each second the files and folders are compared with their earlier state, by device and inode, and
the watch begins anew where they differ.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Iterable

from rdv.coded import coded

log = logging.getLogger("rdv.watch")

STEP_MS, DEBOUNCE_MS = 50, 100
"""The watching thread wakes up every step."""

LOOK_MS = 1_000
"""How often the watched files and folders are compared with their earlier state, in ms."""

AGAIN_S, STOP_S = 1.0, 2.0
_LINKS_MAX = 40

Sign = tuple[int, ...] | None


def sign(path: str) -> Sign:
    """Return what changes when a file is edited or replaced; for a folder, when it is replaced."""
    try:
        found = os.stat(path)
    except OSError:
        return None
    if os.path.isdir(path):
        return found.st_dev, found.st_ino
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


def folders_of(paths: Iterable[str]) -> dict[str, Sign]:
    """Return the folders in which an edit of these files is visible, by device and inode.

    These are the folders of the names, of each symlink on the way, and of the files that these lead
    to; and folders among the paths themselves.
    """
    folders = set()
    for path in paths:
        if os.path.isdir(path):
            folders.add(os.path.realpath(path))
        here = os.path.abspath(path)
        for _ in range(_LINKS_MAX):
            folders.add(os.path.dirname(here))
            if not os.path.islink(here):
                break
            here = os.path.normpath(os.path.join(os.path.dirname(here), os.readlink(here)))
        folders.add(os.path.dirname(os.path.realpath(path)))
    return {folder: found for folder in sorted(folders) if (found := sign(folder)) is not None}


def _warn(text: str) -> None:
    log.warning("%s", text, extra=coded("edits_late"))


class Watch:
    """Calls `changed` after each edit of one of `files()`, from its own thread.

    When `changed` is called, the edit is on disk; it may be called without an edit. `files` is
    called again at each check, so it may grow, and may name missing files. `problem` is called once
    if the system cannot watch; then edits are still noticed within a second.
    """

    def __init__(
        self,
        files: Callable[[], Iterable[str]],
        changed: Callable[[], None],
        problem: Callable[[str], None] = _warn,
    ) -> None:
        self._files = files
        self._changed = changed
        self._problem = problem
        self._known = self._signs()
        self._has_warned = False
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="rdv-watch", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """End the thread: a library's thread must not run on while the interpreter ends."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(STOP_S)

    def _signs(self) -> dict[str, Sign]:
        return {path: sign(path) for path in self._files()}

    def _look(self, *, has_changes: bool) -> None:
        now = self._signs()
        if has_changes or now != self._known:
            self._known = now
            self._changed()

    def _run(self) -> None:
        while not self._stop.is_set():
            self._look(has_changes=False)
            try:
                self._watch(folders_of(self._known))
            except (OSError, RuntimeError) as error:  # no folder yet, or no watches left
                if not self._has_warned and not isinstance(error, FileNotFoundError):
                    self._problem(f"edits are noticed within a second only: {error}")
                    self._has_warned = True
                self._stop.wait(AGAIN_S)

    def _watch(self, folders: dict[str, Sign]) -> None:
        """Watch until one of the folders is replaced, or `files` are in others."""
        from watchfiles import DefaultFilter, watch

        if not folders:
            raise FileNotFoundError
        for changes in watch(
            *folders,
            stop_event=self._stop,
            recursive=False,
            debounce=DEBOUNCE_MS,
            step=STEP_MS,
            rust_timeout=LOOK_MS,
            yield_on_timeout=True,
            raise_interrupt=False,
            ignore_permission_denied=True,
            watch_filter=DefaultFilter(ignore_dirs=()),
        ):
            if self._stop.is_set():
                return
            self._look(has_changes=bool(changes))
            if folders_of(self._known) != folders:
                return
