"""These functions remove what a forked child must not keep: descriptors, mutexes and locks."""

from __future__ import annotations

import contextlib
import os
from typing import Protocol
from weakref import WeakSet


class Forkable(Protocol):
    """A `Forkable` holds descriptors or mutexes."""

    def after_fork(self) -> None:
        """Close the parent's descriptors and make new mutexes; called in the child.

        The parent's locks live as long as any descriptor of theirs, so an idle child would keep
        them after the parent's death; and a mutex that another thread held stays held for ever.
        """


_forkables: WeakSet[Forkable] = WeakSet()


def watch_forks(thing: Forkable) -> None:
    """Have `thing.after_fork` called in every child of this process, as long as `thing` lives."""
    _forkables.add(thing)


_private_fds: set[int] = set()
"""Descriptors that threads are using: a child must not keep their locks."""


def keep_from_children(fd: int) -> None:
    """Have `fd` closed in every child process."""
    _private_fds.add(fd)


def forget(fd: int) -> None:
    """Stop tracking `fd`, which is about to be closed."""
    _private_fds.discard(fd)


def _forked() -> None:
    for fd in _private_fds:
        with contextlib.suppress(OSError):
            os.close(fd)
    _private_fds.clear()
    for thing in list(_forkables):
        with contextlib.suppress(OSError):
            thing.after_fork()


os.register_at_fork(after_in_child=_forked)
