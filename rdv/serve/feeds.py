"""Waits for any of several consumers, and reads only those that may have records.

A consumer that was polled empty has registered for a wake-up; until then another read would waste
system calls. A wake-up can be lost when its sender is killed at that instant, so everything is
polled again at least every BACKSTOP_S. What cannot be read is logged, counted and skipped
(`Losses`).
"""

from __future__ import annotations

import logging
import select
from collections import deque
from collections.abc import Iterator, Sequence

from rdv.clock import Clock
from rdv.coded import Coded, coded, of_error
from rdv.errors import RdvError
from rdv.serve.process import Waker
from rdv.stream import Block, Consumer, Record, lost_count, pass_over

log = logging.getLogger("rdv.losses")

RECENT_MAX = 8
"""The number of losses whose text is kept; the counters include all."""


BACKSTOP_S = 0.2

CHAMPION_PRIORITY, MODEL_PRIORITY, SERVER_PRIORITY = 1, 2, 3
"""The wake-up priorities of the readers of a request (`Consumer.wakeup_priority`): first the model
that is to answer first, as the others would delay it; the server last, which has nothing to decide
until one of them has scored it. All other readers come after them.
"""


class Losses:
    """Counts the losses of one reading thread; a repeated fault is logged ever more rarely."""

    def __init__(self) -> None:
        self.records = 0
        """Records that could not be read, each run of them counted once."""
        self.faults = 0
        """Reads that failed."""
        self.recent: deque[Coded] = deque(maxlen=RECENT_MAX)
        self._last = ""
        self._repeats = 0

    def note(self, error: RdvError) -> None:
        """Note that a read has failed with this error."""
        text = error.text()
        self.faults += 1
        self._repeats = self._repeats + 1 if text == self._last else 0
        self._last = text
        if self._repeats & (self._repeats - 1):
            return  # the first, second, third, fifth, ninth …: a broken disk does not fill the log
        log.error("%s", text, extra=coded(error))
        if (found := of_error(error)) not in self.recent:
            self.recent.append(found)
            self.records += lost_count(error)

    def figures(self) -> dict[str, object]:
        """Return the figures for the status line; usually none."""
        if not self.faults:
            return {}
        return {
            "unread_records": self.records,
            "unread": [one.text for one in self.recent],
            "unread_codes": [one.code for one in self.recent],
        }


class Feed:
    """Reads one consumer, and reads on whatever happens to the log. One thread.

    What it cannot read is noted in `losses`, which feeds may share.
    """

    def __init__(self, consumer: Consumer, losses: Losses | None = None) -> None:
        self.consumer = consumer
        self.losses = Losses() if losses is None else losses
        self.fd = consumer.fileno()
        self.is_ready = True
        """Whether a poll may find something."""
        self.is_notified = True
        """Whether the descriptor was seen to be readable since the last poll."""

    def poll(self, max_records: int) -> list[Block]:
        """Return the waiting records; if there are none, register for a wake-up.

        Raises nothing: unreadable records are noted and skipped; after any other fault, reading is
        retried at the next backstop.
        """
        is_notified, self.is_notified = self.is_notified, False
        try:
            blocks = self.consumer.poll_blocks(max_records, is_notified=is_notified)
        except RdvError as error:
            return self._failed(error)
        self.is_ready = bool(blocks)
        return blocks

    def notified(self) -> None:
        """Note that the descriptor is readable."""
        self.is_ready = self.is_notified = True

    def look(self, max_records: int) -> list[Block]:
        """Return the waiting records without registering for a wake-up.

        That halves the system calls here, and spares writers theirs.
        """
        try:
            if self.is_notified:
                self.is_notified = False
                self.consumer.drain_wakeups()
            blocks = self.consumer.look_blocks(max_records)
        except RdvError as error:
            return self._failed(error)
        self.is_ready = bool(blocks)
        return blocks

    def _failed(self, error: RdvError) -> list[Block]:
        self.losses.note(error)
        self.is_ready = pass_over(self.consumer, error)
        return []

    def close(self) -> None:
        self.consumer.close()


def read_all(consumer: Consumer, max_records: int, losses: Losses) -> Iterator[Record]:
    """Yield all records that are there now; used at a start, before anything waits.

    Raises nothing: damage is noted in `losses` and skipped. What keeps failing in another way is
    left after one try for each partition (the next read begins with another one).
    """
    tries = 1 + len(consumer.assignment())
    while tries:
        try:
            records = consumer.poll(max_records, 0.0)
        except RdvError as error:
            losses.note(error)
            tries -= not pass_over(consumer, error)
            continue
        if not records:
            return
        yield from records


class Feeds:
    """Blocks until one of the feeds, or the waker, is readable. One thread."""

    def __init__(self, feeds: Sequence[Feed], waker: Waker, clock: Clock) -> None:
        self._feeds = {feed.fd: feed for feed in feeds}
        self._waker = waker
        self._clock = clock
        self._poll = select.poll()
        for fd in (*self._feeds, waker.fileno()):
            self._poll.register(fd, select.POLLIN)
        self._look_ns = 0

    def watch(self, fd: int) -> None:
        """Wake up for another descriptor, too; its owner reads it."""
        self._poll.register(fd, select.POLLIN)

    def block(self, timeout_s: float) -> None:
        """Wait for a wake-up, even if a feed is ready already; notified feeds become ready."""
        for fd, _ in self._poll.poll(timeout_s * 1000):
            if fd in self._feeds:
                self._feeds[fd].notified()
            else:
                self._waker.drain()

    def wait(self, timeout_s: float = BACKSTOP_S) -> None:
        """Mark the feeds that may have records; return at once when one of them has already."""
        feeds = self._feeds
        for feed in feeds.values():
            if feed.is_ready:
                break
        else:
            self.block(max(0.0, min(timeout_s, BACKSTOP_S)))
        now_ns = self._clock.monotonic_ns()
        if now_ns >= self._look_ns:
            self._look_ns = now_ns + int(BACKSTOP_S * 1e9)
            for feed in feeds.values():
                feed.is_ready = True
