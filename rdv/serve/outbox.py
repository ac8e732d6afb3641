"""Writes batches to the log for a loop that must not wait.

What can be written at once is written at once. Everything else (another process holds the
partition's lock, a segment has to be sealed, a topic made) goes to a thread, one for each partition
with waiting batches, so that it delays neither the loop nor the other partitions. The order within
a partition is kept. A record that is too large does not keep others from the log
(`send_fitting`).
"""

from __future__ import annotations

import contextlib
import logging
import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal

from rdv.clock import Clock
from rdv.coded import coded
from rdv.errors import InputFault, RdvError
from rdv.stream import Producer
from rdv.stream.errors import LockTimeout, RecordTooLarge, WouldWait

log = logging.getLogger("rdv.outbox")

LOCK_WAIT_MS = 5
"""How long a request waits for a partition that another process has locked, in ms; then it is
answered with the marked default, as on a full disk.
"""

LINES_MAX, BYTES_MAX = 20_000, 64 * 1024 * 1024
"""The maximum that may wait for one partition; beyond it, the oldest batches are given up."""

SEND_LINES_MAX, SEND_BYTES_MAX = 5_000, 16 * 1024 * 1024
"""The maximum of one write, for batches that waited together."""

STEP_MS = 1_000

RETRY_S = 0.2

CLOSE_S = 1.0

FOREVER_MS = 10**9

Keep = Literal["locked", "any"]

Failed = dict[int, RdvError]
"""Why lines could not be recorded, by their number."""

Done = Callable[[Failed], None]


def send_fitting(
    producer: Producer,
    topic: str,
    lines: Sequence[bytes],
    partition: int | None = None,
    wait_ms: int | None = None,
) -> dict[int, RdvError]:
    """Append the lines in order; return an error for each line that is not recorded, by number.

    Usually this is one batch. A line beyond the stream's `record_bytes_max` is left out, and lines
    beyond `batch_bytes_max` together are split. Other errors concern all lines of their part; the
    beginning of it may be recorded then. `wait_ms` as in `send_many`.
    """
    try:
        producer.send_many(topic, lines, partition=partition, wait_ms=wait_ms)
    except RecordTooLarge as error:
        return _send_in_parts(producer, topic, lines, partition, error, wait_ms)
    except RdvError as error:
        return dict.fromkeys(range(len(lines)), error)
    return {}


def _send_in_parts(
    producer: Producer,
    topic: str,
    lines: Sequence[bytes],
    partition: int | None,
    error: RecordTooLarge,
    wait_ms: int | None,
) -> dict[int, RdvError]:
    if error.what == "batch":
        if len(lines) == 1:
            return {0: error}
        half = len(lines) // 2
        failed = send_fitting(producer, topic, lines[:half], partition, wait_ms)
        rest = send_fitting(producer, topic, lines[half:], partition, wait_ms)
        return failed | {half + number: why for number, why in rest.items()}
    limit = error.limit_bytes
    too_large: dict[int, RdvError] = {
        number: RecordTooLarge(len(line), limit)
        for number, line in enumerate(lines)
        if len(line) > limit
    }
    numbers = [number for number in range(len(lines)) if number not in too_large]
    if not numbers:
        return too_large
    failed = send_fitting(
        producer, topic, [lines[number] for number in numbers], partition, wait_ms
    )
    return too_large | {numbers[at]: why for at, why in failed.items()}


@dataclass(eq=False)
class Batch:
    """Holds lines that wait, by number, with their deadline and the callback."""

    lines: dict[int, bytes]
    size_bytes: int
    until_ns: int
    done: Done | None
    failed: Failed
    count: int


@dataclass
class _Queue:
    batches: deque[Batch] = field(default_factory=deque)
    lines: int = 0
    size_bytes: int = 0
    taken: int = 0
    """The number of batches that have been added."""
    settled: int = 0
    """How many of the first of these are written or given up."""
    surplus: int = 0
    """Batches that were given up behind those being written: they count as settled with them."""


def _is_done() -> bool:
    return True


class Outbox:
    """Sends batches to the topics of one stream. `send` is for one thread, the rest for any.

    A batch that cannot be written is retried for `keep_ms`: while its partition is "locked" by
    another process, or after "any" fault of the system (a full disk). `what` names the lines in the
    log. With `is_slow` every write takes long (fsync = "always") and is left to the threads.
    """

    def __init__(
        self,
        producer: Producer,
        clock: Clock,
        what: str,
        *,
        keep_ms: int,
        keep: Keep = "locked",
        is_slow: bool = False,
    ) -> None:
        self._producer = producer
        self._clock = clock
        self._what = what
        self._keep_ms = keep_ms
        self._keeps_any = keep == "any"
        self._is_slow = is_slow
        self._changed = threading.Condition()
        self._queues: dict[tuple[str, int], _Queue] = {}
        self._is_closing = False
        self._is_failing = False
        self.lost = 0
        """Lines that were given up."""

    def send(
        self, topic: str, lines: list[bytes], partition: int, done: Done | None = None
    ) -> Failed | None:
        """Write the lines at once; return the failed ones, or None if some have to wait.

        `done` is then called from a thread with the lines that were not recorded. Without `done`
        they are only counted (`lost`).
        """
        if self._is_slow or (self._queues and (topic, partition) in self._queues):
            self._put((topic, partition), dict(enumerate(lines)), {}, done)
            return None
        failed = send_fitting(self._producer, topic, lines, partition, wait_ms=0)
        if not failed:
            self._is_failing = False
            return failed
        waiting = {
            number: lines[number]
            for number, error in failed.items()
            if isinstance(error, WouldWait) or self._is_kept(error)
        }
        failed = {number: why for number, why in failed.items() if number not in waiting}
        if waiting:
            self._put((topic, partition), waiting, failed, done)
            return None
        if done is None:
            self._lose(failed)
        return failed

    def _is_kept(self, error: RdvError) -> bool:
        return self._keeps_any and not isinstance(error, InputFault)

    def _put(
        self, place: tuple[str, int], lines: dict[int, bytes], failed: Failed, done: Done | None
    ) -> None:
        until_ns = self._clock.monotonic_ns() + self._keep_ms * 1_000_000
        size_bytes = sum(map(len, lines.values()))
        batch = Batch(lines, size_bytes, until_ns, done, failed, len(lines))
        surplus: list[Batch] = []
        with self._changed:
            queue = self._queues.get(place)
            if queue is None:
                queue = self._queues[place] = _Queue()
                name = f"rdv-outbox-{place[0]}-{place[1]}"
                threading.Thread(
                    target=self._run, args=(place, queue), name=name, daemon=True
                ).start()
            queue.batches.append(batch)
            queue.taken += 1
            queue.lines += batch.count
            queue.size_bytes += size_bytes
            while len(queue.batches) > 1 and (
                queue.lines > LINES_MAX or queue.size_bytes > BYTES_MAX
            ):
                surplus.append(_take(queue))
        full = WouldWait("/".join(map(str, place)), f"more than {LINES_MAX} lines wait already")
        for one in surplus:
            one.failed |= dict.fromkeys(one.lines, full)
            self._finish(one)

    def _run(self, place: tuple[str, int], queue: _Queue) -> None:
        """Run the thread of one partition, as long as batches wait for it."""
        while True:
            with self._changed:
                group = _next_group(queue)
                if not group:
                    queue.settled = queue.taken
                    del self._queues[place]
                    self._changed.notify_all()
                    return
            self._write(place, group)
            with self._changed:
                queue.settled += len(group) + queue.surplus
                queue.surplus = 0
                queue.lines -= sum(batch.count for batch in group)
                queue.size_bytes -= sum(batch.size_bytes for batch in group)

    def _write(self, place: tuple[str, int], group: list[Batch]) -> None:
        """Write the batches; return when all are written or given up."""
        topic, partition = place
        while group:
            left_ms = (group[0].until_ns - self._clock.monotonic_ns()) // 1_000_000
            rows = [(batch, number) for batch in group for number in batch.lines]
            failed = send_fitting(
                self._producer,
                topic,
                [batch.lines[number] for batch, number in rows],
                partition,
                wait_ms=max(1, min(STEP_MS, left_ms)),
            )
            left: dict[Batch, dict[int, bytes]] = {}
            for at, error in failed.items():
                batch, number = rows[at]
                if self._may_retry(batch, error):
                    left.setdefault(batch, {})[number] = batch.lines[number]
                else:
                    batch.failed[number] = error
            for batch in group:
                batch.lines = left.get(batch, {})
                if not batch.lines:
                    self._finish(batch)
            group = list(left)
            if not failed:
                self._is_failing = False
            elif group:
                self._pause(failed)

    def _pause(self, failed: Failed) -> None:
        """Wait after a fault of the system; a lock has been waited for already."""
        errors = [e for e in failed.values() if not isinstance(e, LockTimeout | WouldWait)]
        if errors:
            self._warn(errors[0])
            with self._changed:
                self._changed.wait_for(lambda: self._is_closing, RETRY_S)

    def _may_retry(self, batch: Batch, error: RdvError) -> bool:
        if not (isinstance(error, LockTimeout | WouldWait) or self._is_kept(error)):
            return False
        return not self._is_closing and self._clock.monotonic_ns() < batch.until_ns

    def _warn(self, error: RdvError) -> None:
        if not self._is_failing:
            why = coded("not_recorded_yet")
            log.error("%s are not recorded yet: %s", self._what, error.text(), extra=why)
        self._is_failing = True

    def _finish(self, batch: Batch) -> None:
        if batch.done is not None:
            batch.done(batch.failed)
        elif batch.failed:
            self._lose(batch.failed)

    def _lose(self, failed: Failed) -> None:
        with self._changed:
            self.lost += len(failed)
        why = next(iter(failed.values())).text()
        text = "%d %s lost: %s"
        log.warning(text, len(failed), self._what, why, extra=coded("not_recorded"))

    @property
    def waiting(self) -> int:
        """Return the number of lines that are not in the log yet."""
        with self._changed:
            return sum(queue.lines for queue in self._queues.values())

    def sent_so_far(self, topic: str, partition: int) -> Callable[[], bool]:
        """Return a function that checks whether all lines sent to this partition until now are
        settled.

        Settled means in the log, or given up. Neither call blocks.
        """
        queue = self._queues.get((topic, partition))
        if queue is None:
            return _is_done
        last = queue.taken
        return lambda: queue.settled >= last

    def flush(self, timeout_s: float) -> bool:
        """Wait until no batch waits any more; return False if some still do."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._queues, timeout_s)

    def close(self, timeout_s: float = CLOSE_S) -> None:
        """Write what waits, for at most `timeout_s`; what is left then is lost, and counted."""
        self.flush(timeout_s)
        self._is_closing = True
        with self._changed:
            self._changed.notify_all()
        if self.flush(timeout_s):
            with contextlib.suppress(RdvError):
                self._producer.close()
        elif left := self.waiting:
            text = "%d %s were not recorded"
            log.error(text, left, self._what, extra=coded("not_recorded"))


def _take(queue: _Queue) -> Batch:
    batch = queue.batches.popleft()
    queue.surplus += 1
    queue.lines -= batch.count
    queue.size_bytes -= batch.size_bytes
    return batch


def _next_group(queue: _Queue) -> list[Batch]:
    """Remove and return the batches of the next write. They count as waiting until written."""
    group: list[Batch] = []
    lines = size_bytes = 0
    while queue.batches:
        batch = queue.batches[0]
        lines, size_bytes = lines + batch.count, size_bytes + batch.size_bytes
        if group and (lines > SEND_LINES_MAX or size_bytes > SEND_BYTES_MAX):
            break
        group.append(queue.batches.popleft())
    return group
