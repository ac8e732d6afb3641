"""Protects a process of rdv from the user code that runs in it.

In a worker a model has the main thread, and everything but the signals that stop the worker. In the
smaller stages it has a thread of a process that does more: there `os._exit` ends the call and not
the process, and a handler for a signal, which Python allows in the main thread alone, is accepted
and never called. (A crash in C, or a kill, still ends everything.)
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from typing import Any, NoReturn

STACK_BYTES = 16 * 1024 * 1024
"""The stack of a thread, as large as a main thread's or larger, so that recursion goes as deep in
every stage.
"""

_OURS = (signal.SIGTERM, signal.SIGINT)
_HARMLESS = (signal.SIGALRM, signal.SIGVTALRM, signal.SIGPROF, signal.SIGUSR1, signal.SIGUSR2)
"""Their default would end the process: a model sends them to itself, relying on its handler."""

_here = threading.local()
_process = 0


def keep_signals() -> None:
    """Ignore handlers that a model installs for SIGTERM and SIGINT. For a worker."""
    _replace_signal(lambda signum: signum in _OURS)


def guard_process() -> None:
    """Protect a process whose user code runs in threads (`enter`). For the main thread."""
    for signum in _HARMLESS:
        signal.signal(signum, lambda *_: None)
    _replace_signal(lambda _: is_guest())
    leave = os._exit

    def end(status: int = 0) -> NoReturn:
        if is_guest():
            raise SystemExit(f"os._exit({status})")
        leave(status)

    os._exit = end


def enter() -> None:
    """Mark this thread as one that runs user code."""
    _here.is_guest = True


def is_guest() -> bool:
    """Return whether user code has called; a process that it has forked does not count."""
    return getattr(_here, "is_guest", False) and os.getpid() == _process


def guest_thread(name: str, target: Callable[[], None]) -> threading.Thread:
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
