"""Ctrl-C is deferred to chosen points, so that the final report says what has really happened."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Self


class DeferredInterrupt:
    """Within the block, a first Ctrl-C waits for `allowed()`; a second one does not."""

    def __init__(self) -> None:
        self._is_allowed = self._is_pending = self._is_installed = False

    def __enter__(self) -> Self:
        # Another handler is kept: a background job, for example, ignores SIGINT.
        self._is_installed = (
            threading.current_thread() is threading.main_thread()
            and signal.getsignal(signal.SIGINT) is signal.default_int_handler
        )
        if self._is_installed:
            signal.signal(signal.SIGINT, self._handle)
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if self._is_installed:
            signal.signal(signal.SIGINT, signal.default_int_handler)
        if self._is_pending and kind is None:
            raise KeyboardInterrupt

    def _handle(self, *_: Any) -> None:
        if self._is_allowed or self._is_pending:
            raise KeyboardInterrupt
        self._is_pending = True

    @contextmanager
    def allowed(self) -> Iterator[None]:
        """Allow an interrupt within this block, including a pending one."""
        self._is_allowed = True
        try:
            if self._is_pending:
                raise KeyboardInterrupt
            yield
        finally:
            self._is_allowed = False
