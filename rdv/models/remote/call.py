"""The batches that a model behind HTTP has in flight, and the requests that ask for their rows."""

from __future__ import annotations

import contextlib
import selectors
from collections.abc import Sequence
from typing import Any

from rdv.models.model import ModelError, Outcome
from rdv.models.remote.breaker import Ticket
from rdv.models.remote.connection import Connection
from rdv.models.remote.replica import Replica
from rdv.models.remote.verdict import Verdict

_NEVER_NS = 2**63


class Batch:
    """Rows that were submitted together. Its parts are asked for one after another."""

    def __init__(
        self,
        key: Any,
        rows: Sequence[bytes],
        now_ns: int,
        wanted_ns: int,
        due_ns: int,
        headers: Sequence[tuple[str, str]],
    ) -> None:
        self.key = key
        self.headers = headers
        self.rows = rows
        self.outcomes: list[Outcome] = [None] * len(rows)
        self.parts: list[tuple[int, int]] = [(0, len(rows))]
        """The rows that have no outcome yet, as ranges; the last one is asked for now."""
        self.attempts: list[Attempt] = []
        """The requests in flight for the present part: one, or two when it is hedged."""
        self.tried: set[int] = set()
        """The replicas that have failed in the present part."""
        self.refused: tuple[Attempt, Verdict] | None = None
        """The last answer that refused rows; whether the server is at fault is seen at the end."""
        self.refusals = 0
        self.body = b""
        self.began_ns = self.asked_ns = now_ns
        self.wanted_ns = wanted_ns
        self.due_ns = due_ns
        self.hedge_ns = _NEVER_NS
        self.is_late = False
        self.has_answer = False
        self.version = ""
        self.why: ModelError | None = None

    def next_ns(self) -> int:
        """Return when something is due for it."""
        if self.is_late:
            return self.due_ns
        return min(self.wanted_ns, self.due_ns, self.hedge_ns)


class Attempt:
    """One request in flight; without a batch it asks for metadata."""

    def __init__(
        self,
        replica: Replica,
        connection: Connection,
        ticket: Ticket | None,
        now_ns: int,
        batch: Batch | None,
        *,
        is_hedge: bool = False,
    ) -> None:
        self.replica = replica
        self.connection = connection
        self.ticket = ticket
        self.began_ns = now_ns
        self.batch = batch
        self.is_hedge = is_hedge
        self.is_over = False
        self.message = b""
        self._fd = -1
        self._events = 0

    def register(self, selector: selectors.BaseSelector) -> None:
        """Wait for what its connection wants, whose socket may be another one than before."""
        connection, events = self.connection, self.connection.wanted
        fd = connection.socket.fileno()
        if connection.wants_fresh_start or fd != self._fd:
            self.unregister(selector)
            connection.wants_fresh_start = False
            self._fd, self._events = fd, events
            selector.register(fd, events, self)
        elif events != self._events:
            self._events = events
            selector.modify(fd, events, self)

    def unregister(self, selector: selectors.BaseSelector) -> None:
        if self._fd >= 0:
            with contextlib.suppress(KeyError, ValueError):
                selector.unregister(self._fd)
            self._fd = -1
