"""The state of a console: it follows the log, and keeps totals and the last hour.

Totals are saved with the positions in the log that they are of, in one file, before anybody sees
them. So a console that is killed goes on from there: it counts nothing twice, and no counter that
was shown goes back.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import threading
import time
from collections.abc import Callable

import msgspec

from rdv.analysis.dataset.places import Recorded
from rdv.analysis.dataset.reading import choose_reading, sample_answers
from rdv.analysis.dataset.values import Extract, extract_of
from rdv.clock import SYSTEM_CLOCK, Clock
from rdv.coded import coded
from rdv.console.gauges import Gauges, SavedCounts
from rdv.console.recent import Bucket, Recent
from rdv.console.totals import SavedTotals, Totals
from rdv.decision import Decision
from rdv.decision.decision import RUN_DIRECTORY
from rdv.errors import RdvError
from rdv.live import EVERY_S, ControlRecord, Follower, FollowState, Update, load, save
from rdv.rendezvous.topology import SCORES

log = logging.getLogger("rdv.console")

FOLDER = os.path.join(RUN_DIRECTORY, "console")
STATE, HOUR = "state.json", "hour.json"
READING_EVERY_S = 10.0
CHANGED_MAX = 24
"""With more changed buckets than this all of them are saved in a file of their own."""
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
        self.lag_s = 0.0
        """How far behind the log the totals are, in seconds: besides the time that late reports are
        waited for."""
        self.ticker: Ticker | None = None
        """What runs the turns, if something does: pages wait for `ticker.after`."""
        self.problem = ""
        """What the console cannot do, and why, as "cannot read the log: …"; usually empty."""
        self._decision_of = decision
        self._decision = decision()
        self._saves = saves
        self._extract: Extract | None = None
        self._next_reading_s = 0.0
        self._clock = clock
        self._folder = os.path.join(directory, FOLDER)
        self._load()
        self.gauges.look()  # before anybody asks: no counter may begin at 0 again
        self.started_s = time.time()

    @property
    def decision(self) -> Decision:
        """The settings in force."""
        return self._decision

    @property
    def name(self) -> str:
        return self._decision.name

    def _load(self) -> None:
        """Begin with what was saved; from the beginning of the log where that cannot be used."""
        saved, hour = None, None
        try:
            saved = load(os.path.join(self._folder, STATE), _Saved)
            hour = load(os.path.join(self._folder, HOUR), _Hour)
        except RdvError as error:
            self._report("cannot read its saved totals", error)
        if saved is None or saved.version != VERSION:
            self.follower = Follower(self.directory, clock=self._clock)
            self.totals, self.recent = Totals(), Recent()
            self.gauges = Gauges(self.directory)
            return
        self.follower = Follower(self.directory, saved.follow, clock=self._clock)
        self.totals = Totals.load(saved.totals)
        self.gauges = Gauges(self.directory, saved.lost, saved.cpu)
        buckets = {one.start_s: one for one in (hour.buckets if hour else [])}
        buckets |= {one.start_s: one for one in saved.buckets}
        self.recent = Recent(buckets.values(), saved.marks)
        self.recent.changed = {one.start_s for one in saved.buckets}

    def turn(self) -> bool:
        """Read what is new, count it and save it; return whether there is more to read at once."""
        with contextlib.suppress(RdvError):
            self._decision = self._decision_of()
        self._choose_reading()
        try:
            update = self.follower.read()
        except RdvError as error:
            self._report("cannot read the log", error)
            self.version += 1  # viewers are told
            return False
        declared = self._decision.scoring_models()
        with self.lock:
            self.totals.add(update, declared, self._extract)
            self.recent.add(update, declared)
            self.gauges.note(update.control)
            self.gauges.look()
            for listener in self.listeners:
                listener(update)
            self._save()
            self.version += 1
            self.lag_s = max(0.0, (self._clock.wall_ns() - update.until_ns) / 1e9 - EVERY_S)
        return update.has_more

    def _choose_reading(self) -> None:
        """Find out how answers are compared, once there are some."""
        if self._extract is not None or time.monotonic() < self._next_reading_s:
            return
        self._next_reading_s = time.monotonic() + READING_EVERY_S
        with contextlib.suppress(RdvError), Recorded(self.directory) as recorded:
            if recorded.stream(SCORES) is None or not sample_answers(recorded):
                return
            self._extract = extract_of(choose_reading(recorded, self._decision.outcome))
            self.follower.use(self._extract)

    def _save(self) -> None:
        if not self._saves:
            self.problem = ""
            return
        recent = self.recent
        changed = [one for one in recent.buckets if one.start_s in recent.changed]
        state = _Saved(
            VERSION, self.follower.state(), self.totals.saved(), changed, self.gauges.lost.saved(),
            self.gauges.cpu.saved(), list(recent.marks),
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
