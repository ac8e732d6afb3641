"""Runs the rendezvous server as a process."""

from __future__ import annotations

import logging
import threading

import msgspec
import orjson

from rdv.clock import SYSTEM_CLOCK
from rdv.coded import coded
from rdv.decision import Decision
from rdv.decision.accepted import Accepted, Source, accept_first
from rdv.decision.schedules import longest_wait_ms
from rdv.decision.streams import Streams, open_streams
from rdv.decision.watching import Watch
from rdv.errors import RdvError
from rdv.rendezvous.engine import Engine
from rdv.rendezvous.limits import Limits
from rdv.rendezvous.topology import SCHEDULE_TOPIC
from rdv.serve.outbox import FOREVER_MS, Outbox
from rdv.serve.process import Waker, host_name, tune_collector
from rdv.serve.server.cohorts import cohorts_in_force, record_cohorts
from rdv.serve.server.server import Server
from rdv.serve.status import StatusWriter
from rdv.stream.errors import WouldWait
from rdv.system.orphans import stop_without_parent

log = logging.getLogger("rdv.server")

START_S = 1.0
"""How long a start waits for the schedules to be recorded, in seconds."""

WINDOW_MS = 10_000
"""How far back a starting server looks at least; else twice as long as a request may be open."""


class ServerProcess:
    """Runs a server with the watch on its settings and its status. One thread.

    `run` returns when stopped. A caller with its own loop (a stage) calls `begin`, then `turn`
    whenever something may have come, then `end`. Given `streams` stay open.
    """

    def __init__(
        self,
        decision: Decision,
        index: int,
        waker: Waker,
        streams: Streams | None = None,
        *,
        source: Source | None = None,
        accepted: Accepted | None = None,
    ) -> None:
        """Make a server with the settings `accepted`.

        They are what `source` has in force now; by default the directory itself is read.
        """
        self._source = source or Source(decision.directory)
        self._accepted = accepted = accepted or accept_first(decision)
        self.decision = decision
        self._index = index
        self._waker = waker
        self._edited = threading.Event()
        if not self._source.is_published:
            for fault in accepted.faults:
                log.warning("%s", fault.text, extra=coded(fault))
        self._owns_streams = streams is None
        self._streams = streams or open_streams(
            decision.directory, decision.log.stream_config(decision.partitions)
        )
        self.engine = Engine(
            host_name(),
            accepted.schedules,
            decision.schedule,
            decision.scoring_models(),
            limits_of(decision),
        )
        partitions = range(index, decision.partitions, decision.server.instances)
        window_ms = int(max(WINDOW_MS, 2 * longest_wait_ms(decision, accepted.schedules)))
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
        self._control = Outbox(
            self._streams.control.producer(),
            SYSTEM_CLOCK,
            "schedules and cohorts",
            keep_ms=FOREVER_MS,
            keep="any",
        )
        self._are_cohorts_recorded = False
        self._watch = Watch(lambda: self._source.files(self.decision), self._note_edit)

    def _note_edit(self) -> None:
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
        self._record_cohorts()
        self._record_schedules(set())
        self._control.flush(START_S)
        if self._owns_streams:
            tune_collector()
        self._status.write("ready", self._figures())

    def turn(self) -> bool:
        """Run `Server.turn`, apply edits, write the status; return as `Server.turn`."""
        is_busy = self.server.turn()
        if self._edited.is_set():
            self._reload()
        if self._status.is_due():
            self._status.write("ready", self._figures())
            if not self._are_cohorts_recorded:
                self._record_cohorts()
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
        """Apply the accepted settings; open requests keep their schedule."""
        self._edited.clear()
        before, now = self._accepted, self._source.again(self._accepted)
        if not self._source.is_published:
            for fault in set(now.faults) - set(before.faults):
                log.warning("%s; nothing is changed by it", fault.text, extra=coded(fault))
        self._accepted = now
        if now.is_same(before):
            return
        known = {schedule.label for schedule in before.schedules.values()}
        self.engine.schedules_changed(now.schedules, now.decision.schedule)
        self.engine.limits = limits_of(now.decision)
        self.decision = now.decision
        if now.live.label != before.live.label:
            known.discard(now.live.label)
        self._record_schedules(known)
        if cohorts_in_force(now) != cohorts_in_force(before):
            self._record_cohorts()

    def _record_cohorts(self) -> None:
        """Record the cohorts; only the first server does so."""
        self._are_cohorts_recorded = True
        if self._index:
            return
        now_ns = SYSTEM_CLOCK.wall_ns()
        try:
            record_cohorts(self._streams.control, self._control, self._accepted, now_ns)
        except WouldWait:
            self._are_cohorts_recorded = False  # retried with the next status
        except RdvError as error:
            text = "the cohorts were not recorded: %s"
            log.warning(text, error.text(), extra=coded("not_recorded"))

    def _record_schedules(self, known: set[str]) -> None:
        """Record the schedules that may be used now and are not `known`, for replays.

        The live one comes last. Only the first server records them.
        """
        live = self._accepted.live
        if live.label not in known:
            log.info("live: %s", live.label)
        others = [s for s in self._accepted.schedules.values() if s.label != live.label]
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
        self._control.send(SCHEDULE_TOPIC, lines, 0)


def limits_of(decision: Decision) -> Limits:
    return Limits(open_mailboxes_max=decision.server.mailboxes_max)


def run_server(directory: str, index: int, *, is_published: bool = False) -> None:
    """Serve until SIGTERM or SIGINT. Raises RdvErrors of the configuration.

    With `is_published`, use the settings that `rdv serve` has accepted.
    """
    waker = Waker()
    waker.stop_on_signals()
    stop_without_parent(waker.stop)
    source = Source(directory, is_published=is_published)
    accepted = source.first()
    ServerProcess(accepted.decision, index, waker, source=source, accepted=accepted).run()
