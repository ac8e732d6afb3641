"""Connects the supervisor with the `control` stream.

It reads from `control:status` which processes are ready, and writes which models are up to
`control:models`, and how many instances they are to have to `control:scaling`.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable, Collection
from typing import Any

import msgspec

from rdv.clock import Clock
from rdv.coded import ShowLine
from rdv.decision import Decision
from rdv.decision.events import Event, encode_event
from rdv.errors import RdvError
from rdv.rendezvous.topology import (
    COMMANDS_TOPIC,
    EVENTS_TOPIC,
    MODELS_TOPIC,
    SCALING_TOPIC,
    STATUS_TOPIC,
)
from rdv.serve.supervisor.authors import Authors
from rdv.serve.supervisor.happenings import DiskWatch
from rdv.status.lines import (
    NOT_LOADED,
    SILENT_NS,
    LastLines,
    ScaleLine,
    StatusLine,
    lives_elsewhere,
    on_this_clock,
    read_status,
)
from rdv.stream import Recent, open_stream, pass_over
from rdv.system.boot import boot_id
from rdv.system.processes import is_process

EVENTS_MAX = 1_000
"""How many events wait for a disk that is full, at most."""

LOCK_WAIT_MS = 5
"""How long the supervisor's loop waits for a lock of another process, in ms; then it retries."""

REPEAT_NS = 30_000_000_000
"""How often the lines of models that wait are written again."""

LOOK_EVERY_S = 0.2
"""How often to poll without a wake-up, which is lost if its sender is killed at that instant."""


class Control:
    """Reads and writes `control`; made on the loop, before any child is started.

    `problem` is called with each failure's text and code.
    """

    def __init__(
        self,
        decision: Decision,
        clock: Clock,
        reported: Callable[[StatusLine], None],
        problem: ShowLine,
    ) -> None:
        self._clock = clock
        self._boot = boot_id().hex()
        self._reported = reported
        self._problem = problem
        config = decision.log.stream_config(1)
        self._stream = open_stream(decision.stream_path("control"), may_wait=False, config=config)
        # Includes lines of processes that run already: `rdv model run` beside `rdv serve`.
        since = Recent(SILENT_NS // 1_000_000)
        self._status = self._stream.consumer([STATUS_TOPIC], start=since)
        self._producer = self._stream.producer()
        for topic in (MODELS_TOPIC, SCALING_TOPIC, EVENTS_TOPIC, COMMANDS_TOPIC):
            self._stream.make_topic(topic)  # now: later the loop must not wait for it
        self._recorded: dict[str, bool] = {}
        self._unrecorded: dict[str, tuple[bool, str]] = {}
        """States of models that are to be recorded, with the codes of why they are down."""
        self._events: deque[bytes] = deque(maxlen=EVENTS_MAX)
        """Events that are to be recorded."""
        self.authors = Authors(self._stream)
        self._disk = DiskWatch()
        self._failed: set[str] = set()
        self._read_fault = ""
        """The last read error, so that it is reported once and not at every poll."""
        self.roll = LastLines()
        self.waiting: Callable[[], Collection[int]] = tuple
        """Returns the last processes of models that wait for a change."""
        self._repeated_ns = 0
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._status.fileno(), self._read)
        self._look()

    def _look(self) -> None:
        # The descriptor changes when its FIFO was deleted and made again.
        self._loop.remove_reader(self._status.fileno())
        self._loop.add_reader(self._status.fileno(), self._read)
        self._read()
        self._record_states()
        self._write_events()
        self._repeat_waiting()
        self._timer = self._loop.call_later(LOOK_EVERY_S, self._look)

    def _read(self) -> None:
        try:
            while records := self._status.poll(500):
                for record in records:
                    line = read_status(record.value)
                    if line is not None:
                        clock = self._clock
                        line = on_this_clock(
                            line, clock.wall_ns(), clock.monotonic_ns(), self._boot
                        )
                        self.roll.add(line)
                        self._reported(line)
        except RdvError as error:
            if (text := error.text()) != self._read_fault:
                self._read_fault = text
                self._problem(text, error.code())
            pass_over(self._status, error)  # read on at the next poll

    def model_state(self, model: str, *, is_up: bool, own_pids: list[int], code: str = "") -> None:
        """Record each change of a model's state once; it is up while `rdv model run` runs it.

        `code` is why it is down.
        """
        now_ns = self._clock.monotonic_ns()
        if not is_up and lives_elsewhere(self.roll.lines(), model, own_pids, now_ns, is_process):
            return
        if self._recorded.get(model) is is_up:
            return
        self._recorded[model] = is_up
        self._unrecorded[model] = is_up, code
        self._record_states()

    def _record_states(self) -> None:
        """Write the changes; what cannot be written is retried at the next poll."""
        for model, (is_up, code) in list(self._unrecorded.items()):
            state = "up" if is_up else "down"
            line = {"model": model, "state": state, **self._now()}
            if code:
                line["code"] = code
            try:
                self._producer.send_many(
                    MODELS_TOPIC, [msgspec.json.encode(line) + b"\n"], wait_ms=LOCK_WAIT_MS
                )
            except RdvError as error:
                if model not in self._failed:
                    text = f"could not record that {model} is {state}: {error.text()}"
                    self._problem(text, error.code(), model)
                self._failed.add(model)
            else:
                del self._unrecorded[model]
                self._failed.discard(model)

    def _repeat_waiting(self) -> None:
        """Write the last lines of waiting models again: readers look only a few minutes back."""
        now_ns = self._clock.monotonic_ns()
        if now_ns - self._repeated_ns < REPEAT_NS or not (pids := self.waiting()):
            return
        self._repeated_ns = now_ns
        lines = [
            msgspec.json.encode({**line.fields, **self._now()}) + b"\n"
            for line in self.roll.lines()
            if line.state == NOT_LOADED and line.pid in pids
        ]
        if lines:
            with contextlib.suppress(RdvError):
                self._producer.send_many(STATUS_TOPIC, lines, wait_ms=LOCK_WAIT_MS)

    def _now(self) -> dict[str, Any]:
        """Return the fields for the time of a record."""
        return {
            "time_ns": self._clock.wall_ns(),
            "boot": self._boot,
            "monotonic_ns": self._clock.monotonic_ns(),
        }

    def event(self, event: Event) -> None:
        """Record an event; what cannot be written is tried again, the latest EVENTS_MAX of it."""
        self._events.append(encode_event(msgspec.structs.replace(event, **self._now())))
        self._write_events()

    def disk_line(self, name: str, line: str) -> None:
        """Handle a line of a process, which may say that the disk is full."""
        if (event := self._disk.line(name, line, self._clock.monotonic_ns())) is not None:
            self.event(event)

    def _write_events(self) -> None:
        if self._events:
            with contextlib.suppress(RdvError):
                self._producer.send_many(EVENTS_TOPIC, [*self._events], wait_ms=LOCK_WAIT_MS)
                self._events.clear()
        if not self._events and (event := self._disk.look(self._clock.monotonic_ns())) is not None:
            self.event(event)

    def models_elsewhere(self) -> set[str]:
        """Return the models with a live worker now, declared or not (`rdv model run`)."""
        now_ns = self._clock.wall_ns()
        names = {line.model for line in self.roll.lines() if line.model}
        lines = list(self.roll.lines())
        return {name for name in names if lives_elsewhere(lines, name, (), now_ns, is_process)}

    def scaled(self, line: ScaleLine) -> bool:
        """Record how many instances there are to be; return whether that was written."""
        try:
            self._producer.send_many(
                SCALING_TOPIC, [msgspec.json.encode(line) + b"\n"], wait_ms=LOCK_WAIT_MS
            )
        except RdvError as error:
            if SCALING_TOPIC not in self._failed:
                text = f"could not record that {line.model} is scaled: {error.text()}"
                self._problem(text, error.code(), line.model)
            self._failed.add(SCALING_TOPIC)
            return False
        self._failed.discard(SCALING_TOPIC)
        return True

    def close(self) -> None:
        self._timer.cancel()
        self._loop.remove_reader(self._status.fileno())
        self._status.close()
        self.authors.close()
        self._producer.close()
        self._stream.close()
