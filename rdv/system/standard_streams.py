"""These functions make descriptors 0 to 2 open, and their text streams write any text."""

from __future__ import annotations

import io
import os
import sys

_STREAMS = ("stdin", "stdout", "stderr")


def open_standard_streams() -> None:
    """Open closed descriptors from 0 to 2 on /dev/null; make text streams escape characters.

    Characters that their encoding lacks are written as an escape instead of raising. Call this
    before any file is opened: with `2>&-` the next file would get number 2, and error messages
    would be written to it.
    """
    for fd, name in enumerate(_STREAMS):
        try:
            os.fstat(fd)
        except OSError:
            # The lowest free number is taken, and the lower ones are open by now.
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)
        if getattr(sys, name) is None:
            setattr(sys, name, _text_stream(fd))
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def write_utf8() -> None:
    """Write UTF-8 to stdout and stderr whatever the locale says: rdv itself reads the other end.

    This makes new streams: those of a forked process assume that the descriptors are unchanged.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    sys.stdout, sys.stderr = _text_stream(1), _text_stream(2)


def empty_stdin() -> None:
    """Replace stdin by /dev/null: foreign code reads its end, and nothing else.

    `input()` then raises EOFError.
    """
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)


def stdout_to_stderr() -> None:
    """Redirect printed output to stderr, even from C: stdout is for data."""
    sys.stdout.flush()
    os.dup2(2, 1)


def _text_stream(fd: int) -> io.TextIOWrapper:
    mode = "rb" if fd == 0 else "wb"
    raw = open(fd, mode, closefd=False)  # noqa: SIM115  it stays open as long as the process
    return io.TextIOWrapper(raw, encoding="utf-8", errors="backslashreplace", line_buffering=True)
