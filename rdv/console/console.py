"""The state of a console: it follows the log, and keeps totals and the last hour.

Totals are saved with the positions in the log that they are of, in one file, before anybody sees
them. So a console that is killed goes on from there: it counts nothing twice, and no counter that
was shown goes back.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import os
import threading
import time
from collections.abc import Callable

import msgspec

from rdv.analysis.dataset.places import Recorded
from rdv.analysis.dataset.reading import choose_reading, sample_answers
from rdv.analysis.dataset.values import Extract, extract_of
from rdv.analysis.errors import TooManyValues
from rdv.clock import SYSTEM_CLOCK, Clock
from rdv.coded import coded
from rdv.console.gauges import Gauges, SavedCounts
from rdv.console.recent import Bucket, Recent
from rdv.console.totals import SavedTotals, Totals
from rdv.decision import Decision
from rdv.decision.decision import RUN_DIRECTORY
from rdv.decision.schedules import read_schedule
from rdv.errors import RdvError
from rdv.live import EVERY_S, ControlRecord, Follower, FollowState, Update, load, save
from rdv.rendezvous.topology import SCORES

log = logging.getLogger("rdv.console")

FOLDER = os.path.join(RUN_DIRECTORY, "console")
STATE, HOUR = "state.json", "hour.json"
READING_EVERY_S = 10.0
OTHER_READING_EVERY_S = 600.0
"""How often answers that are not compared are looked at again, in seconds: outcomes may come."""

CHANGED_MAX = 24
"""With more changed buckets than this all of them are saved in a file of their own."""
COMPARED = ("class", "probability")
"""The kinds of answers that are compared with the champion's."""

UNKNOWN_S = -1.0
"""The lag before anything has been read."""

VERSION = 1


class _Saved(msgspec.Struct):
    """What is saved at once: positions, totals, and buckets that `hour.json` has not (so)."""

    version: int
    follow: FollowState
    totals: SavedTotals
    buckets: list[Bucket]
    lost: SavedCounts
    cpu: SavedCounts
    marks: list[ControlRecord] = []
    until_ns: int = 0
    is_caught_up: bool = True


class _Hour(msgspec.Struct):
    """The buckets of the last hour."""

    buckets: list[Bucket]


class Console:
    """Follows a decision. `turn` belongs to one thread; hold `lock` while reading in another.

    `decision` returns the settings in force. With `saves` it owns the state in DIR/.rdv/console
    (one process at a time); without, it begins with that state and writes nothing.
    """

    def __init__(
        self,
        directory: str,
        decision: Callable[[], Decision],
        *,
        saves: bool,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        self.directory = directory
        self.lock = threading.RLock()
        """Held while totals change."""
        self.listeners: list[Callable[[Update], None]] = []
        """Called with each update, in the thread of `turn`, with the lock held. They must be
        quick, and keep no more than they bound themselves."""
        self.version = 0
        """Grows with each turn, also with one that could not read the log."""
        self.ticker: Ticker | None = None
        """What runs the turns, if something does: pages wait for `ticker.after`."""
        self.problem = ""
        """What the console cannot do, and why, as "cannot read the log: …"; usually empty."""
        self._decision_of = decision
        self._decision = decision()
        self._saves = saves
        self._extract: Extract | None = None
        self._outcome = self._decision.outcome
        self._next_reading_s = 0.0
        self._clock = clock
        self._folder = os.path.join(directory, FOLDER)
        self._until_ns = 0
        self.is_caught_up = False
        """Whether the end of the log has been reached once; totals before that are of the past."""
        self._load()
        self._take_schedule()
        self.gauges.look()  # before anybody asks: no counter may begin at 0 again
        self.started_s = time.time()

    @property
    def decision(self) -> Decision:
        """The settings in force."""
        return self._decision

    @property
    def name(self) -> str:
        return self._decision.name

    @property
    def lag_s(self) -> float:
        """How far behind the log the totals are now, in seconds: besides the time that late reports
        are waited for. It grows while nothing can be read; UNKNOWN_S before anything was read.
        """
        if not self._until_ns:
            return UNKNOWN_S
        return max(0.0, (self._clock.wall_ns() - self._until_ns) / 1e9 - EVERY_S)

    def _load(self) -> None:
        """Begin with what was saved; from the beginning of the log where that cannot be used."""
        saved, hour = None, None
        try:
            saved = load(os.path.join(self._folder, STATE), _Saved)
            hour = load(os.path.join(self._folder, HOUR), _Hour)
        except RdvError as error:
            self._report("cannot read its saved totals", error)
        if saved is None or saved.version != VERSION:
            self._open(FollowState())
            self.totals, self.recent = Totals(), Recent()
            self.gauges = Gauges(self.directory)
            self._until_ns = 0
            self.is_caught_up = False
            return
        self._open(saved.follow)
        self._until_ns, self.is_caught_up = saved.until_ns, saved.is_caught_up
        self.totals = Totals.load(saved.totals)
        self.gauges = Gauges(self.directory, saved.lost, saved.cpu)
        buckets = {one.start_s: one for one in (hour.buckets if hour else [])}
        buckets |= {one.start_s: one for one in saved.buckets}
        self.recent = Recent(buckets.values(), saved.marks)
        self.recent.changed = {one.start_s for one in saved.buckets}

    def _open(self, state: FollowState) -> None:
        """Follow from these positions on: those of what has been counted."""
        self._state = self._read_state = state
        self.follower = Follower(self.directory, state, extract=self._extract, clock=self._clock)

    def turn(self) -> bool:
        """Read what is new, count it and save it; return whether there is more to read at once.

        What a failed reading has read is read again by the next one.
        """
        with contextlib.suppress(RdvError):
            self._decision = self._decision_of()
        self._choose_reading()
        update = self._read()
        with self.lock:
            if update is not None:
                self._count(update)
            self.gauges.look()
            if update is None:
                self.version += 1  # viewers are told
                return False
            for listener in self.listeners:
                listener(update)
            self._save()
            self.version += 1
        return update.has_more

    def _read(self) -> Update | None:
        """Return what is new; None if the log cannot be read now."""
        try:
            update = self.follower.read()
            self._read_state = self.follower.state()
        except Exception as error:
            if isinstance(error, TooManyValues):
                self._extract, self._next_reading_s = None, math.inf
            self.follower.close()
            self._open(self._state)
            if not isinstance(error, RdvError):
                raise
            self._report("cannot read the log", error)
            return None
        return update

    def _count(self, update: Update) -> None:
        """Count all of an update, or nothing of it: else go on from what was saved."""
        declared = self._decision.scoring_models()
        try:
            self._take_schedule()
            self.totals.add(update, declared, self._extract)
            self.recent.add(update, declared)
            self.gauges.note(update.control)
        except BaseException:
            self.follower.close()
            self.gauges.close()
            self._load()
            raise
        self._state, self._until_ns = self._read_state, update.until_ns
        self.is_caught_up |= not update.has_more

    def _take_schedule(self) -> None:
        """Take the live schedule from the settings where the log does not name it (yet)."""
        if self.totals.live is None:
            with contextlib.suppress(RdvError):
                self.totals.put_in_force(read_schedule(self._decision))

    def _choose_reading(self) -> None:
        """Find out how answers are compared, once there are some; again when [outcome] changes."""
        if self._decision.outcome != self._outcome:
            self._outcome = self._decision.outcome
            self._extract, self._next_reading_s = None, 0.0
            self.follower.close()
            self._open(self._state)
        if self._extract is not None or time.monotonic() < self._next_reading_s:
            return
        self._next_reading_s = time.monotonic() + READING_EVERY_S
        with contextlib.suppress(RdvError), Recorded(self.directory) as recorded:
            if recorded.stream(SCORES) is None or not sample_answers(recorded):
                return
            reading = choose_reading(recorded, self._outcome)
            if reading.kind in COMPARED:
                self._extract = extract_of(reading)
                self.follower.use(self._extract)
            else:
                self._next_reading_s = time.monotonic() + OTHER_READING_EVERY_S

    def _save(self) -> None:
        if not self._saves:
            self.problem = ""
            return
        recent = self.recent
        changed = [one for one in recent.buckets if one.start_s in recent.changed]
        state = _Saved(
            VERSION, self._state, self.totals.saved(), changed, self.gauges.lost.saved(),
            self.gauges.cpu.saved(), list(recent.marks), self._until_ns, self.is_caught_up,
        )  # fmt: skip
        try:
            save(os.path.join(self._folder, STATE), state)
            if len(changed) > CHANGED_MAX:
                save(os.path.join(self._folder, HOUR), _Hour(recent.buckets))
                recent.changed.clear()
        except RdvError as error:
            self._report("cannot save its totals", error)
        else:
            self.problem = ""

    def _report(self, what: str, error: RdvError) -> None:
        if (text := f"{what}: {error.text()}") != self.problem:
            self.problem = text
            log.warning("the console %s", text, extra=coded(error))

    def close(self) -> None:
        self.follower.close()
        self.gauges.close()


class Ticker:
    """Runs the turns of a console in a thread, and tells the loop after each one."""

    def __init__(self, console: Console, every_s: float = EVERY_S) -> None:
        self.console = console
        self._every_s = every_s
        self._stop = threading.Event()
        self._loop = asyncio.get_running_loop()
        self._changed = asyncio.Condition()
        self._is_broken = False
        self._thread = threading.Thread(target=self._run, name="rdv-console", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Start no further turn; wait for the present one."""
        self._stop.set()
        self._thread.join()

    async def after(self, version: int) -> int:
        """Wait for a turn later than `version`; return its version."""
        async with self._changed:
            await self._changed.wait_for(lambda: self.console.version > version)
        return self.console.version

    def _run(self) -> None:
        while not self._stop.is_set():
            has_more = True
            try:
                has_more = self.console.turn()
                self._is_broken = False
            except Exception:
                # A bug: the page goes on with what there is; the supervisor's log has the cause.
                if not self._is_broken:
                    log.exception("the console's turn failed", extra=coded("console_failed"))
                self._is_broken, has_more = True, False
            with contextlib.suppress(RuntimeError):  # the loop has ended
                asyncio.run_coroutine_threadsafe(self._tell(), self._loop)
            if not has_more:
                self._stop.wait(self._every_s)

    async def _tell(self) -> None:
        async with self._changed:
            self._changed.notify_all()
