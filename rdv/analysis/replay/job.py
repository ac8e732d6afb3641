"""Run a replay as a whole: the model's process, the requests, the comparison with the record."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from rdv.analysis.dataset.places import Recorded
from rdv.analysis.dataset.reading import sample_answers, sample_truths
from rdv.analysis.dataset.values import Extract
from rdv.analysis.errors import NothingRecorded
from rdv.analysis.measure import Measure
from rdv.analysis.metrics import metric_named
from rdv.analysis.replay.compare import compare, replayed_measure
from rdv.analysis.replay.evaluator import Evaluator, Loading
from rdv.analysis.replay.paced import replay_paced
from rdv.analysis.replay.result import Findings, Pace, Replayed
from rdv.analysis.replay.rows import ResultFile, Spill
from rdv.analysis.replay.source import ArchiveSource, InputSource
from rdv.analysis.replay.study import Recorder, Requests, feed, replay
from rdv.decision import Decision, ModelConfig
from rdv.decision.schedules import read_schedule
from rdv.errors import RdvError
from rdv.rendezvous.backlog import Backlog

_APART_NS = 60 * 10**9
"""How far the proxies' times and the log's append times may be apart, in ns."""

Span = tuple[int | None, int | None]
"""From and until when, in ns since 1970; None: no bound."""

Progress = Callable[[int], None]
"""Called with the number of requests done since the last call."""


@dataclass(frozen=True)
class ReplayJob:
    """One replay of a decision's requests through a model."""

    decision: Decision
    name: str
    config: ModelConfig
    span: Span
    on: str | None = None
    """The field of the answers that is compared."""
    decoy: str | None = None
    """The decoy whose archive has the requests; None: the input stream."""
    speed: float | None = None
    """The pace, as a multiple of the recorded one; None: as quickly as the model can."""
    out: str | None = None
    """The Parquet file for all results."""
    metric: str = ""
    """What answers are measured by; empty: metric of [outcome], or the usual one."""
    warm_up_ns: int | None = 0
    """From how long before the span requests are fed first, which do not count; None: from all."""

    def run(
        self,
        recorded: Recorded,
        replaying: Callable[[int], contextlib.AbstractContextManager[Progress]],
        comparing: Callable[[], contextlib.AbstractContextManager[Progress]],
    ) -> Findings:
        """Replay, then compare; `replaying` is called with the number of requests, 0 if unknown.

        Raises UnknownMetric, InvalidMetric, NothingRecorded, ModelKeepsEnding, TooManyValues,
        NoArchive, SystemFaults.
        """
        if self.metric:
            metric_named(self.metric)  # a wrong name is an error before anything is replayed
        answers, truths = sample_answers(recorded), sample_truths(recorded)
        with contextlib.ExitStack() as stack:
            spill = stack.enter_context(contextlib.closing(Spill()))
            evaluator = stack.enter_context(Evaluator(self.loading()))
            found = Replayed(self.name, evaluator.version)
            keep = None
            if self.out is not None:
                keep = stack.enter_context(ResultFile(self.out, evaluator.version)).add
            measures: list[Measure] = []

            def read_by(first: bytes) -> Extract:
                measure = replayed_measure(
                    first,
                    answers,
                    truths,
                    self.decision.outcome,
                    self.on,
                    self.metric,
                    self.decision.value,
                    self.decision.directory,
                )
                measures.append(stack.enter_context(measure))
                return measure.extract

            recorder = Recorder(found, spill, read_by, keep)
            found.warmed = self.warm_up(recorded, evaluator, replaying)
            source = self.source(recorded, evaluator.takes)
            with replaying(source.total) as progress:
                pace = self._replay(source, evaluator, recorder, found, progress)
            found.has_state = recorder.has_state(evaluator)
            evaluator.close()
            if not found.requests:
                raise NothingRecorded(self.decision.directory)
            if recorder.extract is None:
                return Findings(found, None, pace)
            span = self.span if self.decoy is None else _widened(*self.span)
            with comparing() as progress:
                comparison = compare(
                    recorded,
                    spill,
                    recorder.extract,
                    *span,
                    progress,
                    measure=measures[0],
                    default=self._default(),
                    name=self.name,
                )
        return Findings(found, comparison, pace)

    def warm_up(
        self,
        recorded: Recorded,
        evaluator: Evaluator,
        replaying: Callable[[int], contextlib.AbstractContextManager[Progress]],
    ) -> int:
        """Feed earlier requests to the model, as `warm_up_ns` says; return how many.

        Raises what `run` raises.
        """
        since_ns = self.span[0]
        if since_ns is None or self.warm_up_ns == 0:
            return 0
        begin_ns = None if self.warm_up_ns is None else max(0, since_ns - self.warm_up_ns)
        earlier = replace(self, span=(begin_ns, since_ns))
        source = earlier.source(recorded, evaluator.takes)
        with replaying(source.total) as progress:
            return feed(source, evaluator, batch_max=self.config.batch_max, progress=progress)

    def _replay(
        self,
        source: Requests,
        evaluator: Evaluator,
        recorder: Recorder,
        found: Replayed,
        progress: Progress,
    ) -> Pace | None:
        if self.speed is None:
            batch_max = self.config.batch_max
            replay(source, evaluator, recorder, found, batch_max=batch_max, progress=progress)
            return None
        backlog = worker_backlog(self.config)
        return replay_paced(
            source, evaluator, recorder, found, backlog, speed=self.speed, progress=progress
        )

    def _default(self) -> Any:
        """Return the default of the live schedule; None if that cannot be read."""
        try:
            return read_schedule(self.decision).default
        except RdvError:
            return None

    def loading(self) -> Loading:
        """Return what the model's process loads."""
        config = self.config
        return Loading(
            self.decision.directory,
            self.name,
            config.opening(),
            config.start_timeout_ms,
            config.predict_timeout_ms,
            (*self.decision.env, *config.variables),
        )

    def source(self, recorded: Recorded, takes: Any) -> Requests:
        """Return the requests of the span."""
        if self.decoy is not None:
            return ArchiveSource(self.decision.directory, self.decoy, takes, *self.span)
        return InputSource(recorded, takes, *self.span)


def _widened(since_ns: int | None, until_ns: int | None) -> tuple[int | None, int | None]:
    """Widen a span, since archives have the proxies' times and the log has append times."""
    return (
        None if since_ns is None else max(0, since_ns - _APART_NS),
        None if until_ns is None else until_ns + _APART_NS,
    )


def worker_backlog(config: ModelConfig) -> Backlog:
    """Return the rules of a production worker for waiting requests."""
    return Backlog(
        config.batch_max, "skip" if config.skips else "all", batch_wait_ms=config.batch_wait_ms
    )
