"""The fork server forks processes after it has loaded everything.

A forked process is up in milliseconds, where a new interpreter takes most of a second to import. It
also shares the layout of its memory with all others that were forked from the same process, and so
the processor's caches and branch predictions for the code: on two cores, which proxy, server and
workers use in turns, that is worth 10 to 20 % (ARCHITECTURE.md).
"""

from __future__ import annotations

import contextlib
import gc
import os
import socket
import sys
import threading
from collections.abc import Callable

READY = b"ready"
ARGUMENT_BYTES_MAX = 128 * 1024
COMMAND = (sys.executable, "-m", "rdv", "component")
TITLE_ROOM = "-" * 4096
"""The fork server's last argument: room for the longer command lines of forked processes, which
`ps` reads from the memory that the fork server's own arguments were in.
"""
_STREAMS = 2


def serve_forks(link: socket.socket) -> list[str] | None:
    """Fork a process for each message of the supervisor.

    Returns in each of them, with its arguments; in the server itself at the end of the link, with
    None. A message is the number of arguments, the arguments, and environment variables
    (NAME=VALUE), each with a NUL behind it, and two descriptors, which become stdin, and stdout and
    stderr. The answer is the process's number, or that of the error, negative. Raises RuntimeError
    when there are threads: locks that they hold would be held for ever in the forked processes.
    """
    if threading.active_count() > 1:
        raise RuntimeError("a process with threads cannot be forked")
    set_title = _title_setter()
    set_title("forkserver")
    gc.collect()
    gc.freeze()
    # The supervisor may end at any time, also with an answer unread.
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        link.send(READY)
        while True:
            message, fds, _, _ = socket.recv_fds(link, ARGUMENT_BYTES_MAX, _STREAMS)
            if not message:
                break
            reader, writer = os.pipe()
            try:
                middle = os.fork()
            except OSError as error:
                os.write(writer, b"%d" % -(error.errno or 1))
            else:
                if not middle:
                    link.close()
                    os.close(reader)
                    _leave(writer)
                    _take_over(*fds)
                    arguments = _read(message)
                    set_title(*arguments)
                    return arguments
                os.waitpid(middle, 0)
            os.close(writer)
            for fd in fds:
                os.close(fd)
            link.send(os.read(reader, 64) or b"-1")
            os.close(reader)
    return None


def _title_setter() -> Callable[..., None]:
    """Return a function that sets the arguments that `ps` shows behind `rdv component`."""
    # Only the arguments' memory: `leftovers` reads the environment in /proc.
    os.environ["SPT_NOENV"] = "1"
    from setproctitle import getproctitle, setproctitle

    getproctitle()  # finds the memory, now
    del os.environ["SPT_NOENV"]
    return lambda *words: setproctitle(" ".join((*COMMAND, *words)))


def _read(message: bytes) -> list[str]:
    """Return the arguments, and set the variables in this process's environment."""
    count, *words = [os.fsdecode(word) for word in message.split(b"\0")[:-1]]
    for word in words[int(count) :]:
        name, _, value = word.partition("=")
        os.environ[name] = value
    return words[: int(count)]


def _leave(writer: int) -> None:
    """Become a process whose parent has ended, so that the supervisor is its parent."""
    try:
        pid = os.fork()
    except OSError as error:
        os.write(writer, b"%d" % -(error.errno or 1))
        os._exit(0)
    if pid:
        os._exit(0)
    os.setsid()  # before the pid is reported: the supervisor kills by session
    os.write(writer, b"%d" % os.getpid())
    os.close(writer)


def _take_over(stdin: int, stdout: int) -> None:
    for fd, number in ((stdin, 0), (stdout, 1), (stdout, 2)):
        os.dup2(fd, number)
    os.close(stdin)
    os.close(stdout)
