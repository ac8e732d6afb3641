"""Runs a model worker as a process."""

from __future__ import annotations

import logging
import math
import os
import threading
from collections.abc import Callable, Sequence

from rdv.clock import SYSTEM_CLOCK
from rdv.coded import coded
from rdv.decision import RUN_DIRECTORY, Decision, ModelConfig, ModelNotFound, load_decision
from rdv.decision.accepted import read_published
from rdv.decision.schedules import longest_wait_ms
from rdv.decision.streams import Streams, open_streams
from rdv.errors import code_of
from rdv.models import Model, ModelNotLoaded, open_model, prepare_interpreter, trouble_of
from rdv.rendezvous.backlog import Backlog, Waiting
from rdv.serve.process import (
    HANGS,
    OUT_OF_MEMORY,
    Waker,
    host_name,
    keep_signals,
    tune_collector,
    yield_processor,
)
from rdv.serve.status import StatusWriter
from rdv.serve.worker.crash_record import CrashRecord
from rdv.serve.worker.overlapping import OverlappingWorker, overlaps
from rdv.serve.worker.requests import START_S
from rdv.serve.worker.warm_up import warm_up
from rdv.serve.worker.worker import Watchdog, Worker
from rdv.status.lines import NOT_LOADED
from rdv.system.cgroup import join
from rdv.system.limits import FALLBACK_NICE, limit_memory, lower_priority
from rdv.system.made_of import MadeOf, read_made_of
from rdv.system.orphans import stop_without_parent
from rdv.system.standard_streams import stdout_to_stderr

log = logging.getLogger("rdv.worker")

NOT_LOADED_CODE = code_of(ModelNotLoaded)


def run_worker(
    directory: str,
    name: str,
    *,
    config: ModelConfig | None = None,
    instance: int = 0,
    is_published: bool = False,
    groups: Sequence[str] = (),
) -> None:
    """Evaluate one model until SIGTERM or SIGINT; `config` for one that rdv.toml does not name.

    It joins the cgroup with the directories `groups` before the model is loaded.

    Raises RdvErrors of the configuration, and ModelNotLoaded.
    """
    decision = read_published(directory).decision if is_published else load_decision(directory)
    config = config or decision.models.get(name)
    if config is None:
        raise ModelNotFound(directory, name, tuple(sorted(decision.models)))
    waker = Waker()
    waker.stop_on_signals()
    keep_signals()
    stop_without_parent(waker.stop)
    yield_processor()  # before the model is loaded, and any process of it is started
    WorkerProcess(decision, name, config, instance, waker, groups=groups).run()


class WorkerProcess:
    """Runs a worker with a watchdog and a status. One thread; `run` returns when stopped.

    In its own process, a model that hangs ends it. With given `streams` (they stay open) it shares
    its process with others: then a hang only costs the batch and the model.
    """

    def __init__(
        self,
        decision: Decision,
        name: str,
        config: ModelConfig,
        instance: int,
        waker: Waker,
        streams: Streams | None = None,
        hanging: Callable[[bool], None] = lambda _: None,
        groups: Sequence[str] = (),
    ) -> None:
        """`hanging` is called, from any thread, when the model hangs, and when it goes on."""
        self._hanging = hanging
        self._is_alone = streams is None
        self._groups = groups
        if self._is_alone:
            stdout_to_stderr()
        self._waker = waker
        self._streams = streams or open_streams(
            decision.directory, decision.log.stream_config(decision.partitions)
        )
        self._status = StatusWriter(
            self._streams.control, "worker", f"{name}-{instance}", SYSTEM_CLOCK
        )
        self._started_ns = SYSTEM_CLOCK.monotonic_ns()
        self._status.write("starting", {"model": name})
        self._model = self._open(decision, name, config)
        if self._is_alone and config.warm_up:
            place = decision.path(RUN_DIRECTORY, "in-hand")
            warm_up(self._model, self._streams.input, config, place, f"{name}-{instance}")
        made_of = read_made_of(decision.directory, name) if self._is_alone else MadeOf()
        self._version_before = made_of.before
        note = ""
        if self._is_alone:
            note = decision.path(RUN_DIRECTORY, "in-hand", f"{name}-{instance}")
        backlog = Backlog(
            config.batch_max,
            "skip" if config.skips else "all",
            batch_wait_ms=config.batch_wait_ms,
        )
        self._watchdog = Watchdog(config.predict_timeout_ms, SYSTEM_CLOCK, self._hangs)
        self._name = name
        make = OverlappingWorker if overlaps(self._model) else Worker
        self.worker = make(
            self._streams,
            name,
            self._model,
            backlog,
            host=host_name(),
            clock=SYSTEM_CLOCK,
            waker=waker,
            watchdog=self._watchdog,
            crash_record=CrashRecord(note),
            came_back=lambda: hanging(False),
            start_s=max(START_S, math.ceil(longest_wait_ms(decision) / 1000)),
        )

    def _open(self, decision: Decision, name: str, config: ModelConfig) -> Model:
        """Load the model.

        Raises ModelNotLoaded, which the status shows as well: another version may be running.
        """
        opening = config.opening()
        try:
            # Not in the time for loading: libraries may have to be installed.
            prepare_interpreter(decision.directory, name, **opening)
        except ModelNotLoaded as error:
            self._report_not_loaded(name, error.reason, "" if error.may_pass else config.made_of)
            raise
        if self._is_alone:
            self._limit(name, config)
        self._ends_without_memory = self._is_alone and bool(config.memory_max)
        late = threading.Timer(config.start_timeout_ms / 1000, self._late, (name, config))
        late.daemon = True
        if self._is_alone:
            late.start()
        try:
            return open_model(decision.directory, name, **opening, records=self._is_alone)
        except ModelNotLoaded as error:
            waits_for = "" if error.may_pass else config.made_of
            self._report_not_loaded(name, error.reason, waits_for)
            raise
        finally:
            late.cancel()

    def _limit(self, name: str, config: ModelConfig) -> None:
        """Limit this process, and all that the model starts: by its group, if it has one."""
        has_group = bool(self._groups)
        try:
            join(self._groups)
        except OSError as error:
            has_group = False
            text = "%s cannot join its cgroup %s: %s"
            reason = error.strerror or error
            log.warning(text, name, self._groups[0], reason, extra=coded("limits_without_groups"))
        is_only_lower = bool(config.cpu_max) and not has_group
        lower_priority(max(config.nice, FALLBACK_NICE) if is_only_lower else config.nice)
        limit_memory(config.memory_max_bytes)

    def _late(self, name: str, config: ModelConfig) -> None:
        """End the process, from the timer's thread: the model hangs while it is loaded."""
        reason = f"it was not loaded within {config.start_timeout_ms} ms"
        log.error("%s: %s", name, reason, extra={"code": NOT_LOADED_CODE})
        self._report_not_loaded(name, reason)
        os._exit(HANGS)

    def _report_not_loaded(self, name: str, reason: str, waits_for: str = "") -> None:
        """Write the last status line; `waits_for` is what has to change before the next start."""
        trouble = {"trouble": f"did not start: {reason}", "trouble_code": NOT_LOADED_CODE}
        self._status.write(NOT_LOADED, {"model": name, "waits_for": waits_for, **trouble})
        self._status.close()

    def _hangs(self, batch: list[Waiting]) -> None:
        """Report the hanging batch and exit; the supervisor restarts the worker.

        Called from the watchdog's thread.
        """
        text = "%s hangs in a batch of %d"
        log.error(text, self._name, len(batch), extra=coded("model_hangs"))
        if not self._is_alone:
            self._hanging(True)
            self.worker.report_hang(batch)
            return
        killer = threading.Timer(1.0, os._exit, (HANGS,))
        killer.daemon = True
        killer.start()
        self.worker.report_hang(batch)
        os._exit(HANGS)

    def run(self) -> None:
        worker = self.worker
        self._watchdog.start()
        if self._is_alone:
            tune_collector()
        self._status.write("ready", self._figures())
        try:
            while not (self._waker.stopping or self._is_out_of_memory):
                worker.turn()
                if self._status.is_due():
                    worker.report_ended_workers()
                    self._status.write("ready", self._figures())
                worker.wait()
        finally:
            worker.rest()
        worker.finish()
        self._watchdog.stop()
        self._status.write("stopped", self._figures())
        self._status.close()
        if self._is_alone:
            self._streams.close()
        if self._is_out_of_memory and not self._waker.stopping:
            os._exit(OUT_OF_MEMORY)

    @property
    def _is_out_of_memory(self) -> bool:
        """Whether the model has to be started again, because of `memory_max`."""
        return self._ends_without_memory and self.worker.reports.is_out_of_memory

    def _figures(self) -> dict[str, object]:
        worker, reports = self.worker, self.worker.reports
        trouble = trouble_of(self._model)
        if not trouble.code:
            trouble = reports.failures.trouble
        return {
            "model": self._name,
            "version": self._model.version,
            "version_before": self._version_before,
            "ran_ns": SYSTEM_CLOCK.monotonic_ns() - self._started_ns,
            "scored": reports.scored,
            "refused": reports.refused,
            "failed": reports.failed,
            "malformed": worker.requests.malformed,
            "not_asked": worker.requests.not_asked,
            "lost_scores": reports.lost,
            "waiting": worker.waiting_count,
            "row_ms": round(worker.cost.row_ms, 3),
            "fixed_ms": round(worker.cost.fixed_ms, 3),
            "trouble": trouble.text,
            "trouble_code": trouble.code,
            **worker.requests.feed.losses.figures(),
        }
