"""Descriptors 0 to 2, and the text streams on them: there, and able to write any text."""

from __future__ import annotations

import io
import os
import sys

_STREAMS = ("stdin", "stdout", "stderr")


def open_standard_streams() -> None:
    """Open those of the descriptors 0 to 2 that are closed on /dev/null, and make the text streams
    write what their encoding lacks as an escape instead of raising.

    To be called before anything is opened: with `2>&-` the next file would get number 2, and be
    written to by whatever reports an error.
    """
    for fd, name in enumerate(_STREAMS):
        try:
            os.fstat(fd)
        except OSError:
            # The lowest free number is taken, and those below are open by now.
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)
        if getattr(sys, name) is None:
            setattr(sys, name, _text_stream(fd))
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def write_utf8() -> None:
    """Write UTF-8 to stdout and stderr whatever the locale says: rdv itself reads the other end.

    By new streams: those of a forked process believe that the descriptors are what they were.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    sys.stdout, sys.stderr = _text_stream(1), _text_stream(2)


def empty_stdin() -> None:
    """Put /dev/null in the place of stdin: code that is not ours reads its end, and nothing else.

    `input()` then raises EOFError.
    """
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)


def stdout_to_stderr() -> None:
    """Send what is printed to stderr, also from C: stdout is for data."""
    sys.stdout.flush()
    os.dup2(2, 1)


def _text_stream(fd: int) -> io.TextIOWrapper:
    mode = "rb" if fd == 0 else "wb"
    raw = open(fd, mode, closefd=False)  # noqa: SIM115  it stays open as long as the process
    return io.TextIOWrapper(raw, encoding="utf-8", errors="backslashreplace", line_buffering=True)
