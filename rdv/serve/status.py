"""Writes the status of a process, about once a second: one line in `control:status`."""

from __future__ import annotations

import json
import logging
import os
import threading
from typing import Any

import orjson

from rdv.clock import Clock
from rdv.coded import coded
from rdv.errors import RdvError
from rdv.rendezvous.topology import STATUS_TOPIC
from rdv.stream import Stream
from rdv.system.boot import boot_id

log = logging.getLogger("rdv.status")

EVERY_NS = 1_000_000_000
LAST_WORD_S = 1.0


class StatusWriter:
    """Writes the status lines of one process, in its own thread.

    All processes write to this one topic, so a process that is stopped while it holds the lock
    delays the others: it may delay their status, never their work. Of lines that cannot be written
    in time only the last is kept. `is_due` and `write` belong to one thread.
    """

    def __init__(self, control: Stream, role: str, name: str, clock: Clock) -> None:
        self._producer = control.producer()
        self._role = role
        self._name = name
        self._clock = clock
        self._boot = boot_id().hex()
        self._next_ns = 0
        self._mutex = threading.Condition()
        self._line: bytes | None = None
        self._is_closed = False
        self._thread = threading.Thread(target=self._run, name="rdv-status", daemon=True)
        self._thread.start()

    def is_due(self) -> bool:
        return self._clock.monotonic_ns() >= self._next_ns

    def write(self, state: str, fields: dict[str, Any]) -> None:
        """Queue a status line; return at once."""
        self._next_ns = self._clock.monotonic_ns() + EVERY_NS
        line = {
            "role": self._role,
            "name": self._name,
            "pid": os.getpid(),
            "state": state,
            "time_ns": self._clock.wall_ns(),
            "boot": self._boot,
            "monotonic_ns": self._clock.monotonic_ns(),
            **fields,
        }
        with self._mutex:
            self._line = _encoded(line)
            self._mutex.notify()

    def _run(self) -> None:
        while True:
            with self._mutex:
                self._mutex.wait_for(lambda: self._line is not None or self._is_closed)
                line, self._line = self._line, None
            if line is None:
                return
            try:
                self._producer.send(STATUS_TOPIC, line)
            except RdvError as error:
                text, why = "cannot write the status: %s", coded("status_not_written")
                log.warning(text, error.text(), extra=why)

    def close(self) -> None:
        """Close once the last line is written; wait at most LAST_WORD_S."""
        with self._mutex:
            self._is_closed = True
            self._mutex.notify()
        self._thread.join(LAST_WORD_S)
        if not self._thread.is_alive():
            self._producer.close()


def _encoded(line: dict[str, Any]) -> bytes:
    """Return a line of JSON; "?" for what is not UTF-8 in a text, such as the name of a file."""
    try:
        return orjson.dumps(line) + b"\n"
    except TypeError:
        return json.dumps(line, ensure_ascii=False).encode("utf-8", "replace") + b"\n"
