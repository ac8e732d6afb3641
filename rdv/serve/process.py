"""What every process of a decision sets up: protection from user code, its collector, its stop.

In a worker a model has the main thread, and everything but the signals that stop the worker. In the
smaller stages it has a thread of a process that does more: there `os._exit` ends the call and not
the process, and a handler for a signal, which Python allows in the main thread alone, is accepted
and never called. (A crash in C, or a kill, still ends everything.)
"""

from __future__ import annotations

import contextlib
import gc
import os
import resource
import signal
import socket
import threading
from collections.abc import Callable
from typing import Any, NoReturn

from rdv.system.boot import boot_id

HANGS = 75
"""The exit code of a worker whose model hung (EX_TEMPFAIL: start it again)."""

OUT_OF_MEMORY = 76
"""The exit code of a worker whose model needs more than `memory_max`."""

NEVER = 78
"""The exit code of a worker whose model cannot be loaded as it is (EX_CONFIG): only a change helps.
"""

STACK_BYTES = 16 * 1024 * 1024
"""The stack of a thread, as large as a main thread's: recursion goes as deep in every stage."""

_OURS = (signal.SIGTERM, signal.SIGINT)
_HARMLESS = (signal.SIGALRM, signal.SIGVTALRM, signal.SIGPROF, signal.SIGUSR1, signal.SIGUSR2)
"""Their default would end the process: a model sends them to itself, relying on its handler."""

_here = threading.local()
_process = 0


YOUNG_OBJECTS = 50_000
"""Messages hold no cycles and are freed by reference counting; the collector is only needed for
what exceptions and libraries leave behind, so it need not run after every 700 objects.
"""

MIDDLE, OLD = 20, 100


def keep_signals() -> None:
    """Ignore handlers that a model installs for SIGTERM and SIGINT. For a worker."""
    _replace_signal(lambda signum: signum in _OURS)


def guard_process() -> None:
    """Protect a process whose user code runs in threads (`enter`). For the main thread."""
    for signum in _HARMLESS:
        signal.signal(signum, lambda *_: None)
    _replace_signal(lambda _: runs_user_code())
    leave = os._exit

    def end(status: int = 0) -> NoReturn:
        if runs_user_code():
            raise SystemExit(f"os._exit({status})")
        leave(status)

    os._exit = end


def enter() -> None:
    """Mark this thread as one that runs user code."""
    _here.runs_user_code = True


def runs_user_code() -> bool:
    """Return whether user code has called; a process that it has forked does not count."""
    return getattr(_here, "runs_user_code", False) and os.getpid() == _process


def user_code_thread(name: str, target: Callable[[], None]) -> threading.Thread:
    """Make a thread for user code, without starting it."""

    def run() -> None:
        enter()
        target()

    return threading.Thread(target=run, name=name, daemon=True)


def start_thread(thread: threading.Thread) -> None:
    """Start it with a stack of STACK_BYTES."""
    before = threading.stack_size(STACK_BYTES)
    try:
        thread.start()
    finally:
        threading.stack_size(before)


def _replace_signal(is_refused: Callable[[int], bool]) -> None:
    global _process  # noqa: PLW0603
    _process = os.getpid()
    install = signal.signal

    def guarded(signum: int, handler: Any) -> Any:
        if os.getpid() == _process and is_refused(signum):
            return signal.getsignal(signum)
        return install(signum, handler)

    def reset() -> None:
        """Reset the handlers in a forked process: they would swallow the signals that end it."""
        signal.set_wakeup_fd(-1)
        install(signal.SIGTERM, signal.SIG_DFL)
        install(signal.SIGINT, signal.default_int_handler)

    signal.signal = guarded  # type: ignore[assignment]
    os.register_at_fork(after_in_child=reset)


def tune_collector() -> None:
    """Exclude all loaded objects from garbage collection, and collect the rest rarely.

    A full collection comes after 50,000 x 20 x 100 objects (and only when a quarter of them is
    new): with thousands of open mailboxes it would otherwise cost milliseconds at any time.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG_OBJECTS, MIDDLE, OLD)


def yield_processor() -> None:
    """Do not preempt a running process on wake-up (SCHED_BATCH, sched(7)). For workers; Linux.

    The champion's score is of no use before the server has it. A worker that is notified while the
    proxy still notifies the others, or while the server decides, waits until these are done: that
    is worth 5 to 10 % of the latency, and of the decisions per second. Server and proxy do preempt
    a model. Threads and processes that are started later inherit the policy. A policy that was set
    by hand is kept; a lack of permission (a sandbox) is ignored.
    """
    with contextlib.suppress(OSError):
        if hasattr(os, "SCHED_BATCH") and os.sched_getscheduler(0) == os.SCHED_OTHER:
            os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))


def allow_files(count: int) -> None:
    """Let this process open `count` files, as far as the system's hard limit permits."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = count if hard == resource.RLIM_INFINITY else min(count, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


class Waker:
    """Provides a descriptor that other threads and signal handlers make readable."""

    def __init__(self) -> None:
        self._reader, self._writer = os.pipe()
        os.set_blocking(self._reader, False)
        os.set_blocking(self._writer, False)
        self.stopping = False

    def fileno(self) -> int:
        return self._reader

    def wake(self) -> None:
        """Make the descriptor readable. For any thread or signal handler."""
        with contextlib.suppress(BlockingIOError):
            os.write(self._writer, b"\x01")

    def drain(self) -> None:
        with contextlib.suppress(BlockingIOError):
            os.read(self._reader, 4096)

    def stop_on_signals(self) -> None:
        """Stop on SIGTERM and SIGINT. To be called in the main thread."""

        def ask(signum: int, frame: object) -> None:
            del signum, frame
            self.stop()

        signal.signal(signal.SIGTERM, ask)
        signal.signal(signal.SIGINT, ask)

    def stop(self) -> None:
        """Request a stop. For any thread."""
        self.stopping = True
        self.wake()

    def close(self) -> None:
        """Close the descriptors, once no thread calls `wake` any more."""
        os.close(self._reader)
        os.close(self._writer)


def host_name() -> str:
    """Return the machine and its boot: processes with the same name share one monotonic clock."""
    return f"{socket.gethostname()}/{boot_id().hex()[:8]}"
