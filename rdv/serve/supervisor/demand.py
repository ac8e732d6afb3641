"""Detects requests for models that have no instance, so that they are started on demand.

The input stream notifies it, no more often than every `EVERY_S`; while every model has an instance,
nothing is read.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection

import msgspec

from rdv.coded import ShowLine
from rdv.decision import Decision
from rdv.errors import RdvError
from rdv.stream import Consumer, Record, open_stream

EVERY_S = 0.2
"""The shortest interval: an idle model must not cost a wake-up for each unrelated request."""

RECORDS_MAX = 10_000
"""The maximum number of requests read at once; more are skipped, as later ones will ask as well."""


class _Asks(msgspec.Struct):
    """Decodes the only field of a request that matters here."""

    not_asked: list[str] = []


_DECODER = msgspec.json.Decoder(_Asks)


def asked_for(values: Collection[bytes], sleeping: Collection[str]) -> set[str]:
    """Return which of the sleeping models these requests are for. Pure."""
    found: set[str] = set()
    for value in values:
        try:
            not_asked = _DECODER.decode(value).not_asked
        except (msgspec.DecodeError, RecursionError):
            continue
        found.update(model for model in sleeping if model not in not_asked)
        if len(found) == len(sleeping):
            break
    return found


class Demand:
    """Watches the input stream; made on the loop.

    `on_request` is called with each model that a request has asked for.
    """

    def __init__(
        self, decision: Decision, on_request: Callable[[str], None], problem: ShowLine
    ) -> None:
        self._on_request = on_request
        self._problem = problem
        config = decision.log.stream_config(decision.partitions)
        self._stream = open_stream(decision.stream_path("input"), may_wait=False, config=config)
        self._loop = asyncio.get_running_loop()
        self._consumer: Consumer | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._is_listening = False
        self._sleeping: frozenset[str] = frozenset()

    def listen(self, sleeping: Collection[str]) -> None:
        """Watch for requests to these models from now on; earlier requests do not count.

        Called again now and then: a wake-up is lost when its sender is killed at that instant.
        """
        self._sleeping = frozenset(sleeping)
        if not self._sleeping:
            self._close_consumer()
        elif self._consumer is None:
            try:
                self._consumer = self._stream.consumer(start="latest")
            except RdvError as error:
                self._problem(f"input, for models that sleep: {error.text()}", error.code())
                self._timer = self._loop.call_later(EVERY_S, self._again)
                return
            self._look()
        elif self._is_listening:
            self._notified()

    def _look(self) -> None:
        """Read the waiting requests; if there are none, wait for a wake-up."""
        self._timer = None
        records = self._read()
        if self._consumer is None:
            return
        if records:
            self._timer = self._loop.call_later(EVERY_S, self._look)
            for model in asked_for([record.value for record in records], self._sleeping):
                self._on_request(model)
        else:
            self._is_listening = True
            self._loop.add_reader(self._consumer.fileno(), self._notified)

    def _read(self) -> list[Record]:
        assert self._consumer is not None
        self._consumer.fileno()  # marks it as watched: an empty poll then asks for a wake-up
        try:
            records = self._consumer.poll(RECORDS_MAX)
            if len(records) == RECORDS_MAX:
                self._consumer.seek_to("latest")
        except RdvError as error:
            # Damaged, or deleted meanwhile: later requests are enough.
            self._problem(f"input, for models that sleep: {error.text()}", error.code())
            self._close_consumer()
            self._timer = self._loop.call_later(EVERY_S, self._again)
            return []
        return records

    def _again(self) -> None:
        if self._consumer is None:
            self.listen(self._sleeping)

    def _notified(self) -> None:
        """Handle a wake-up."""
        self._stop_listening()
        self._look()

    def _stop_listening(self) -> None:
        if self._is_listening and self._consumer is not None:
            self._loop.remove_reader(self._consumer.fileno())
        self._is_listening = False

    def _close_consumer(self) -> None:
        self._stop_listening()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._consumer is not None:
            self._consumer.close()
            self._consumer = None

    def lag(self, group: str) -> int:
        """Return the number of requests that a worker group has not committed. Raises RdvErrors."""
        return sum(self._stream.lag(group).values())

    def close(self) -> None:
        self._close_consumer()
        self._stream.close()
