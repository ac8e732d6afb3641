"""Errors of the operating system become errors of rdv: `faults` and `os_fault` translate them."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator

from rdv.errors import ConflictFault, RdvError, SystemFault


class DiskFull(SystemFault):
    """The disk is full: none of the batch counts as written, but acknowledged records stay."""

    path: str
    reason: str = "no space left on device"

    _text = "cannot write to {path}: {reason}"
    _hint = "Free space, or lower the retention (rdv stream purge); writing then goes on."


class NotPermitted(SystemFault):
    """The operating system denies access."""

    path: str
    doing: str

    _text = "no permission to {doing} {path}"
    _hint = "Run as the owner of the directory, or change its mode."


class TooManyOpenFiles(SystemFault):
    """The process is out of file descriptors."""

    path: str

    _text = "too many open files while opening {path}"
    _hint = "Raise the limit (ulimit -n), or lower open_partitions_max."


class DiskFault(SystemFault):
    """The operating system refuses for any other reason."""

    path: str
    doing: str
    reason: str

    _text = "cannot {doing} {path}: {reason}"


class LockTimeout(ConflictFault):
    """Another process or thread has held a lock for longer than the limit; a dead one cannot."""

    path: str
    waited_ms: int
    holder: str

    _text = "waited {waited_ms} ms for the lock {path}, held by {holder}"
    _hint = "Is that process stopped (SIGSTOP, a debugger)? Continue or kill it."


def os_fault(error: OSError, path: str, doing: str) -> RdvError:
    """Return the error of rdv for an OSError; this is the only place that translates them."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return DiskFull(path, os.strerror(error.errno).lower())
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return NotPermitted(path, doing)
    if error.errno in (errno.EMFILE, errno.ENFILE):
        return TooManyOpenFiles(path)
    return DiskFault(path, doing, error.strerror or str(error))


@contextlib.contextmanager
def faults(path: str, doing: str) -> Iterator[None]:
    """Translate OSErrors of a block that is not on the hot path."""
    try:
        yield
    except OSError as error:
        raise os_fault(error, path, doing) from error
