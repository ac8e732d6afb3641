"""Put a model file's answers into the record: they are made by replay, at the recorded pace.

When an answer would have come is simulated: a worker's rules, and the time that each evaluation
takes here (`replay.paced`).
"""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from rdv.analysis.dataset.joined import (
    ABSENT,
    ERROR,
    NEVER_US,
    NOT_SAMPLED,
    NOWHERE,
    OUTCOME_CODES,
    RESULT,
    Joined,
)
from rdv.analysis.dataset.places import Recorded
from rdv.analysis.dataset.reading import sample_answers, sample_truths
from rdv.analysis.dataset.scores import LATE_ORDER
from rdv.analysis.dataset.values import Extract
from rdv.analysis.measure import Measure
from rdv.analysis.replay.compare import SLACK_NS, replayed_measure
from rdv.analysis.replay.evaluator import Evaluator
from rdv.analysis.replay.job import Progress, ReplayJob, worker_backlog
from rdv.analysis.replay.paced import replay_paced
from rdv.analysis.replay.result import Replayed
from rdv.analysis.replay.rows import Row, Spill
from rdv.analysis.replay.source import InputSource
from rdv.analysis.replay.study import Recorder
from rdv.errors import NotUsable
from rdv.rendezvous.schedule import OTHERS, Schedule
from rdv.system.faults import faults

_REPORT = np.dtype([("arrival_us", "i4"), ("outcome", "u1")])
_BATCH = 8_192


@dataclass(frozen=True)
class ReplayedModel:
    """A replay's reports, to be put into the batches of a join. For one thread at a time."""

    found: Replayed
    measure: Measure | None
    """By which the answers were read; None if there is none."""
    reports: Reports

    def change(self, joined: Joined) -> Joined:
        """Return the batch with this model's reports in the place of recorded ones."""
        value, outcome, arrival_us = self.reports.of(joined)
        assert joined.value is not None
        name, models = self.found.name, joined.models
        row = models.index(name) if name in models else len(models)
        if row < len(models):
            was = joined.outcome[row] == NOT_SAMPLED  # the proxy has not asked it
            outcome[was], arrival_us[was], value[was] = NOT_SAMPLED, 0, np.nan
        order = np.full(len(joined), LATE_ORDER + row, np.uint16)
        columns: dict[str, Any] = {
            "outcome": outcome,
            "arrival_us": arrival_us,
            "value": value,
            "order": order,
            "is_exact": np.zeros(len(joined), bool),
            "score_at": np.full(len(joined), NOWHERE, np.int64),
        }
        changed: dict[str, Any] = {
            key: _with_row(getattr(joined, key), row, one) for key, one in columns.items()
        }
        return replace(joined, models=(*models[:row], name, *models[row + 1 :]), **changed)

    def sentence(self) -> str:
        """Return where the model's answers come from, and how exact they are."""
        found = self.found
        text = (
            f"{found.name} (version {found.version}) was replayed on {found.requests:,} requests: "
            "when it answers is simulated, by a worker's rules and the time that it takes here"
        )
        if found.errors or found.silent:
            text += f"; {found.errors + found.silent:,} of them failed"
        if found.warmed:
            text += f"; {found.warmed:,} earlier requests were fed first"
        elif found.has_state:
            text += (
                "; it answered its first requests differently at the end, so that it keeps state, "
                "and has seen nothing from before --since (--warm-up 1h, or all)"
            )
        return text


def _with_row(column: npt.NDArray[Any], row: int, values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return (m, n) with one row replaced, or with one more."""
    if row == len(column):
        return np.concatenate([column, values[None].astype(column.dtype)])
    changed = column.copy()
    changed[row] = values
    return changed


class Reports(Spill):
    """A `Spill` that also keeps what each report was and when it came: 86 bytes a request."""

    def __init__(self) -> None:
        super().__init__()
        with faults("the temporary directory", "write"):
            self._more = tempfile.TemporaryFile()  # noqa: SIM115  closed by `close`
        self._rows: list[tuple[int, int]] = []
        self._blocks: Iterator[npt.NDArray[Any]] | None = None
        self._waiting: dict[bytes, tuple[float, int, int, int]] = {}
        self._latest_ns = -(2**63)

    def keep(self, rows: list[Row]) -> None:
        """Add the reports of the rows that `add` has just got."""
        self._rows += map(_report, rows)
        if len(self._rows) >= _BATCH:
            self._write()

    def _write(self) -> None:
        with faults("the temporary directory", "write"):
            np.array(self._rows, _REPORT).tofile(self._more)
        self._rows = []

    def of(
        self, joined: Joined
    ) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.uint8], npt.NDArray[np.int32]]:
        """Return values, outcomes and arrivals of a batch; batches come in the order of time."""
        value = np.full(len(joined), np.nan)
        outcome = np.full(len(joined), ABSENT, np.uint8)
        arrival_us = np.full(len(joined), NEVER_US, np.int32)
        first_ns, last_ns = int(joined.append_ns[0]), int(joined.append_ns[-1])
        while self._latest_ns <= last_ns + SLACK_NS and self._read(first_ns - SLACK_NS):
            pass
        for row, id_ in enumerate(joined.ids.tolist()):
            if (known := self._waiting.pop(id_, None)) is not None:
                value[row], outcome[row], arrival_us[row], _ = known
        return value, outcome, arrival_us

    def _read(self, since_ns: int) -> bool:
        """Read one more block, and drop what is older; return False at the end."""
        if self._blocks is None:
            self._write()
            self._more.seek(0)
            self._blocks = self.blocks()
        block = next(self._blocks, None)
        if block is None:
            return False
        more = np.fromfile(self._more, _REPORT, len(block))
        self._latest_ns = max(self._latest_ns, int(block["time_ns"].max()))
        self._waiting = {k: v for k, v in self._waiting.items() if v[3] >= since_ns}
        columns = block["id"], block["value"], more["outcome"], more["arrival_us"], block["time_ns"]
        for id_, *rest in zip(*(column.tolist() for column in columns), strict=True):
            if rest[3] >= since_ns:
                self._waiting[id_] = (rest[0], rest[1], rest[2], rest[3])
        return True

    def close(self) -> None:
        super().close()
        self._more.close()


def _report(row: Row) -> tuple[int, int]:
    """Return (arrival in µs, outcome); a refusal comes at once, silence is an error."""
    if row.refusal is not None:
        return 0, OUTCOME_CODES[row.refusal]  # type: ignore[index]
    waited_us = min(NEVER_US - 1, max(0, round((row.waited_ms or 0.0) * 1000)))
    return waited_us, ERROR if row.result is None else RESULT


def check_schedule(name: str, schedule: Schedule) -> None:
    """Check that the schedule accepts the model, and combines it with no other. Raises NotUsable.

    Combined answers are made of the recorded texts, which a replayed model does not have.
    """
    steps = [step for step in schedule.steps if {name, OTHERS} & set(step.accept)]
    if not steps:
        reason = f"the schedule {schedule.name} does not accept {name}: nothing would change"
        raise NotUsable("--model", reason, "Name it in a step, and give that file: --schedule FILE")
    if any(step.combine != "best" for step in steps):
        raise NotUsable(
            "--model", f"{name} would be combined with others, which a replay cannot do"
        )


def replay_model(
    job: ReplayJob,
    recorded: Recorded,
    stack: contextlib.ExitStack,
    replaying: Callable[[int], contextlib.AbstractContextManager[Progress]],
) -> ReplayedModel:
    """Replay the job's requests at the recorded pace; `stack` closes files and measure.

    `replaying` is called with the number of requests. Raises ModelNotLoaded, ModelKeepsEnding,
    TooManyValues, SystemFaults.
    """
    answers, truths = sample_answers(recorded), sample_truths(recorded)
    decision = job.decision
    measures: list[Measure] = []

    def read_by(first: bytes) -> Extract:
        measure = replayed_measure(
            first,
            answers,
            truths,
            decision.outcome,
            job.on,
            job.metric,
            decision.value,
            decision.directory,
        )
        measures.append(stack.enter_context(measure))
        return measure.extract

    reports = stack.enter_context(contextlib.closing(Reports()))
    with Evaluator(job.loading()) as evaluator:
        found = Replayed(job.name, evaluator.version)
        recorder = Recorder(
            found,
            reports,
            read_by,
            reports.keep,
        )
        takes: Any = evaluator.takes
        found.warmed = job.warm_up(recorded, evaluator, replaying)
        source = InputSource(recorded, takes, *job.span)
        with replaying(source.total) as progress:
            backlog = worker_backlog(job.config)
            replay_paced(source, evaluator, recorder, found, backlog, speed=1.0, progress=progress)
        found.has_state = recorder.has_state(evaluator)
    return ReplayedModel(found, measures[0] if measures else None, reports)
