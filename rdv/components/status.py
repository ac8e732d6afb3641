"""What a process says of itself, about once a second: one line in `control:status`."""

from __future__ import annotations

import logging
import os
from typing import Any

import orjson

from rdv.clock import Clock
from rdv.components.places import STATUS_TOPIC
from rdv.errors import RdvError
from rdv.stream import Stream

log = logging.getLogger("rdv.status")

EVERY_NS = 1_000_000_000


class StatusWriter:
    """Writes the status lines of one process. One thread."""

    def __init__(self, control: Stream, role: str, name: str, clock: Clock) -> None:
        self._producer = control.producer()
        self._role = role
        self._name = name
        self._clock = clock
        self._next_ns = 0

    def is_due(self) -> bool:
        return self._clock.monotonic_ns() >= self._next_ns

    def write(self, state: str, fields: dict[str, Any]) -> None:
        """A failure is logged: a process does not stop for its status."""
        self._next_ns = self._clock.monotonic_ns() + EVERY_NS
        line = {
            "role": self._role,
            "name": self._name,
            "pid": os.getpid(),
            "state": state,
            "time_ns": self._clock.wall_ns(),
            **fields,
        }
        try:
            self._producer.send(STATUS_TOPIC, orjson.dumps(line) + b"\n")
        except RdvError as error:
            log.error("cannot write the status: %s", error.text())

    def close(self) -> None:
        self._producer.close()
