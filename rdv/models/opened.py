"""Note which files inside a decision a model opens: they are a part of what it is made of.

Python reports each file that is opened by Python code (an audit hook). Files that a library in C or
C++ opens by itself are not reported: `artifacts` in rdv.toml names those.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import sys
import threading
from collections.abc import Callable, Iterable
from typing import Any, Self

from rdv.rendezvous.topology import STREAMS
from rdv.system.made_of import Sign, sign_of

_LEFT_OUT = frozenset((*STREAMS, "decoy", "schedules", "rdv.toml"))
"""Folders and files in a decision's directory that no model is made of; rdv itself reads them."""


KNOWN_MAX = 10_000
"""How many files that a model writes are remembered, so that reading them is no news."""
LATE_MAX = 10
"""How many files are named that a model reads after it was loaded."""


class Opened:
    """Notes files that are opened inside of `directory`, as a context manager: while it is entered.

    It sees the opens of its own thread, and of threads that are started meanwhile, load no other
    model and run no code of rdv; those that ran before belong to the process, not to the model.
    After that `watch` reports the files that are written. Thread-safe.
    """

    def __init__(self, directory: str) -> None:
        self._places = {os.path.abspath(directory), os.path.realpath(directory)}
        self._thread = 0
        self._others: frozenset[int | None] = frozenset()
        self._read: dict[str, Sign] = {}
        self._written: dict[str, None] = {}
        self._watched: set[str] = set()
        self._changed: Callable[[str], None] = lambda _: None
        self._late: Callable[[str], None] = lambda _: None
        self._known: set[str] = set()
        self._late_count = 0

    def __enter__(self) -> Self:
        _install()
        self._thread = threading.get_ident()
        self._others = frozenset(thread.ident for thread in threading.enumerate())
        with _mutex:
            _loading[self._thread] = self
        return self

    def __exit__(self, *_: object) -> None:
        with _mutex:
            _loading.pop(self._thread, None)

    @property
    def read(self) -> dict[str, Sign]:
        """Return the files that were opened for reading, relative to the directory, with their
        signs at that moment.
        """
        return dict(self._read)

    @property
    def written(self) -> list[str]:
        """Return the files that were opened for writing, or made by renaming another one."""
        return list(self._written)

    def watch(
        self,
        names: Iterable[str],
        changed: Callable[[str], None],
        late: Callable[[str], None] = lambda _: None,
    ) -> None:
        """Call `changed` once for each of these files before it is opened for writing.

        Call `late` with others that are read, once for each, LATE_MAX of them. From now on until
        `close`, in the thread that opens the file.
        """
        self._watched, self._changed, self._late = set(names), changed, late
        self._known = {*self._watched, *self._read, *self._written}
        with _mutex:
            _watching.append(self)

    def close(self) -> None:
        """End `watch`. May be called twice."""
        with _mutex:
            if self in _watching:
                _watching.remove(self)

    def may_own(self, thread: int) -> bool:
        """Return whether the model may have started this thread, which loads no other model."""
        return thread not in self._others

    def note(self, path: str, *, is_read: bool, is_written: bool) -> None:
        """Note an open while the model is loaded."""
        name = self._inside(path)
        if name and is_read and name not in self._read:
            with contextlib.suppress(OSError):
                self._read[name] = sign_of(path)
        if name and is_written:
            self._written[name] = None

    def opened_now(self, path: str, *, is_written: bool) -> None:
        """Report that a watched file is about to be written, or that another one is read."""
        if not is_written and self._late_count >= LATE_MAX:
            return
        name = self._inside(path)
        if not is_written:
            if name and name not in self._known and os.path.isfile(path):
                self._late_count += 1
                self._known.add(name)
                self._late(name)
            return
        if len(self._known) < KNOWN_MAX:
            self._known.add(name)
        if name in self._watched:
            self._watched.discard(name)
            self._changed(name)

    def _inside(self, path: str) -> str:
        """Return the path relative to the directory; empty when it does not count."""
        path = _source_of(os.path.abspath(path))
        for place in self._places:
            if path.startswith(place + os.sep):
                name = path[len(place) + 1 :]
                words = name.split(os.sep)
                if words[0] in _LEFT_OUT or "site-packages" in words:
                    return ""
                if any(word.startswith(".") for word in words):
                    return ""
                return name if name.isprintable() else ""
        return ""


_mutex = threading.Lock()
_loading: dict[int, Opened] = {}
"""By thread: what is loaded there now."""
_watching: list[Opened] = []
_installed: list[bool] = []
"""One entry once Python calls the hook."""


def _install() -> None:
    with _mutex:
        if not _installed:
            sys.addaudithook(_hook)
            _installed.append(True)


def _hook(event: str, arguments: tuple[Any, ...]) -> None:
    """Pass an open on. Python calls this in every thread, for events of every kind.

    An error here would make the open itself fail.
    """
    if event == "open":
        if _loading or _watching:
            try:
                _opening(*arguments)
            except Exception:  # noqa: BLE001 - a strange path; the open is to go on
                return
    elif event == "os.rename" and (_loading or _watching):
        try:
            _report(arguments[1], is_read=False, is_written=True)
        except Exception:  # noqa: BLE001 - as above
            return


def _opening(path: object, mode: object, flags: int) -> None:
    if isinstance(mode, str):
        is_written = any(letter in mode for letter in "wax+")
        is_read = "r" in mode or "+" in mode
    else:
        access = flags & os.O_ACCMODE
        is_written, is_read = access != os.O_RDONLY, access != os.O_WRONLY
    _report(path, is_read=is_read, is_written=is_written)


def _report(path: object, *, is_read: bool, is_written: bool) -> None:
    if isinstance(path, int) or not isinstance(path, str | bytes | os.PathLike):
        return
    text = os.fsdecode(path)
    thread = threading.get_ident()
    own = _loading.get(thread)
    is_foreign = own is None and bool(_loading) and _runs_rdv()
    for opened in list(_loading.values()):
        if opened is own or (own is None and not is_foreign and opened.may_own(thread)):
            opened.note(text, is_read=is_read, is_written=is_written)
    for watching in [] if own is not None else list(_watching):
        watching.opened_now(text, is_written=is_written)


def _runs_rdv() -> bool:
    """Return whether code of rdv has led to the open that is reported: a thread of rdv itself."""
    frame = sys._getframe(1)  # noqa: SLF001 - the only way to see who has opened the file
    while frame := frame.f_back:  # type: ignore[assignment]
        name = frame.f_globals.get("__name__", "")
        if isinstance(name, str) and name.startswith("rdv.") and name != __name__:
            return True
    return False


def _source_of(path: str) -> str:
    """Return the source of a cached module; other paths as they are."""
    if path.endswith(".pyc") and os.path.basename(os.path.dirname(path)) == "__pycache__":
        return importlib.util.source_from_cache(path)
    return path
