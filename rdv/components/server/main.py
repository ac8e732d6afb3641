"""The rendezvous server as a process."""

from __future__ import annotations

import logging
import threading

import msgspec
import orjson

from rdv.clock import SYSTEM_CLOCK
from rdv.components.host import host_name
from rdv.components.parent import stop_without_parent
from rdv.components.places import SCHEDULE_TOPIC, Streams, open_streams
from rdv.components.schedules import DirectoryWatch, longest_wait_ms, read_schedules
from rdv.components.sending import send_fitting
from rdv.components.server.server import Server
from rdv.components.status import StatusWriter
from rdv.components.stopping import Waker
from rdv.components.tuning import tune_collector
from rdv.config import Decision, ScheduleNotFound, load_decision
from rdv.errors import RdvError
from rdv.rendezvous import Engine, Limits

log = logging.getLogger("rdv.server")

WINDOW_MS = 10_000
"""How far back a starting server looks for requests that nobody has answered: at least this long,
and twice as long as a request may be open."""


class ServerProcess:
    """A server with its schedules watched and its status written. One thread.

    `run` returns when stopped. Who has a loop of its own (a stage) calls `begin`, then `turn`
    whenever something may have come, then `end`. `streams` that are given stay open.
    """

    def __init__(
        self, decision: Decision, index: int, waker: Waker, streams: Streams | None = None
    ) -> None:
        self.decision = decision
        self._index = index
        self._waker = waker
        self._edited = threading.Event()
        self._schedules = read_schedules(decision.directory)
        for fault in self._schedules.faults:
            log.warning("%s", fault.text())
        if decision.schedule not in self._schedules.by_name:
            known = tuple(sorted(self._schedules.by_name))
            raise ScheduleNotFound(decision.directory, decision.schedule, known)
        self._owns_streams = streams is None
        self._streams = streams or open_streams(
            decision.directory, decision.log.stream_config(decision.partitions)
        )
        limits = Limits(open_mailboxes_max=decision.server.mailboxes_max)
        self.engine = Engine(
            host_name(),
            self._schedules.by_name,
            decision.schedule,
            decision.scoring_models(),
            limits,
        )
        partitions = range(index, decision.partitions, decision.server.instances)
        window_ms = int(max(WINDOW_MS, 2 * longest_wait_ms(decision, self._schedules)))
        self.server = Server(
            self._streams,
            self.engine,
            partitions,
            host=host_name(),
            clock=SYSTEM_CLOCK,
            waker=waker,
            window_ms=window_ms,
        )
        self._status = StatusWriter(
            self._streams.control, "server", f"server-{index}", SYSTEM_CLOCK
        )
        self._control = self._streams.control.producer()
        self._watch = DirectoryWatch(decision.directory, self._note_edit)

    def _note_edit(self, paths: set[str]) -> None:
        del paths
        self._edited.set()
        self._waker.wake()

    def run(self) -> None:
        self.begin()
        while not self._waker.stopping:
            if not self.turn():
                self.server.wait()
        self.end()

    def begin(self) -> None:
        self._watch.start()
        self._record_schedules(set())
        if self._owns_streams:
            tune_collector()
        self._status.write("ready", self._figures())

    def turn(self) -> bool:
        """As `Server.turn`."""
        is_busy = self.server.turn()
        if self._edited.is_set():
            self._reload()
        if self._status.is_due():
            self._status.write("ready", self._figures())
        return is_busy

    def end(self) -> None:
        self._status.write("stopped", self._figures())
        self._watch.stop()
        self.server.close()
        self._status.close()
        self._control.close()
        if self._owns_streams:
            self._streams.close()

    def _figures(self) -> dict[str, object]:
        return {
            "open": self.engine.open_count,
            "lost_results": self.server.lost_results,
            "given_up": self.server.given_up,
            **self.server.losses.figures(),
            **msgspec.to_builtins(self.engine.counters),
        }

    def _reload(self) -> None:
        """An edit that does not validate changes nothing, and says so."""
        self._edited.clear()
        try:
            decision = load_decision(self.decision.directory)
        except RdvError as error:
            log.warning("%s; nothing is changed", error.text())
            return
        schedules = read_schedules(decision.directory, self._schedules)
        for fault in schedules.faults:
            log.warning("%s; nothing is changed by it", fault.text())
        if decision.schedule not in schedules.by_name:
            log.warning("there is no schedule %r; nothing is changed", decision.schedule)
            return
        known = {schedule.label for schedule in self._schedules.by_name.values()}
        was = self._schedules.by_name[self.decision.schedule].label
        self.engine.schedules_changed(schedules.by_name, decision.schedule)
        self._schedules = schedules
        self.decision = decision.replace(partitions=self.decision.partitions)
        if schedules.by_name[decision.schedule].label != was:
            known.discard(schedules.by_name[decision.schedule].label)
        self._record_schedules(known)

    def _record_schedules(self, known: set[str]) -> None:
        """What may be used from now on and is not `known`, the live one last, for replays. One
        server speaks for all of them.
        """
        live = self._schedules.by_name[self.decision.schedule]
        if live.label not in known:
            log.info("live: %s", live.label)
        others = [s for s in self._schedules.by_name.values() if s.label != live.label]
        lines = [
            orjson.dumps(
                {
                    "time_ns": SYSTEM_CLOCK.wall_ns(),
                    "name": schedule.name,
                    "hash": schedule.content_hash,
                    "live": schedule is live,
                    "schedule": msgspec.to_builtins(schedule),
                }
            )
            + b"\n"
            for schedule in (*others, live)
            if schedule.label not in known
        ]
        if self._index or not lines:
            return
        for error in send_fitting(self._control, SCHEDULE_TOPIC, lines).values():
            log.warning("a schedule is not on record: %s", error.text())


def run_server(directory: str, index: int) -> None:
    """Serve until SIGTERM or SIGINT. Raises RdvErrors of the configuration."""
    waker = Waker()
    waker.stop_on_signals()
    stop_without_parent(waker.stop)
    ServerProcess(load_decision(directory), index, waker).run()
