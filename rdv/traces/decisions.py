"""What is known of each exported decision, from a reading of the log."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import numpy as np

from rdv.analysis.dataset.joined import Joined
from rdv.analysis.dataset.liveness import ModelNews, read_model_news
from rdv.analysis.dataset.notes import Notes
from rdv.analysis.dataset.places import Recorded as Streams
from rdv.analysis.dataset.reading import Reading
from rdv.analysis.dataset.schedules import ScheduleShelf, read_schedules
from rdv.analysis.explain.study import reports_of, steps_of
from rdv.coded import coded
from rdv.decision.traces import Traces
from rdv.errors import RdvError
from rdv.live import Update
from rdv.trace_context import caller_of, trace_id_of
from rdv.traces.sampling import reasons_of, sample
from rdv.traces.spans import Recorded, Span, spans_of, unasked_spans

log = logging.getLogger("rdv.traces")

_TRACED = b'"traceparent":"'


class Decisions:
    """Makes the spans of what a follower has handed on. For one thread.

    Schedules and the states of models are read when they are first needed, and again when a
    schedule is not known.
    """

    def __init__(self, directory: str, name: str, remote: frozenset[str] = frozenset()) -> None:
        """`remote` are the models behind HTTP."""
        self._directory = directory
        self._name = name
        self._remote = remote
        self.failed = 0
        """How many decisions no spans could be made of, since the last call of `spans`."""
        self._has_failed = False
        self._notes = Notes()
        self._shelf = ScheduleShelf()
        self._news = ModelNews()
        self._unknown: set[str] = set()

    def spans(
        self, update: Update, settings: Traces, reading: Reading | None
    ) -> Iterator[list[Span]]:
        """Yield the spans of each exported decision. Raises the log's SystemFaults.

        A decision whose record cannot be made into spans is left out, and counted in `failed`.
        """
        self._unknown.clear()
        self.failed = 0
        for time_ns, answer in update.unasked:
            why = sample(("defaults",), trace_id_of(answer.id, ""), None, settings)
            if why:
                yield [unasked_spans(self._name, time_ns, answer, why)]
        joined = update.joined
        if joined is None:
            return
        flags = reasons_of(joined, reading)
        has_reason = np.zeros(len(joined), bool)
        for column in flags.values():
            has_reason |= column
        for row in range(len(joined)):
            names: tuple[str, ...] = ()
            if has_reason[row]:
                names = tuple(name for name, column in flags.items() if column[row])
            if spans := self._spans(joined, row, names, settings):
                yield spans

    def _spans(
        self, joined: Joined, row: int, names: tuple[str, ...], settings: Traces
    ) -> list[Span]:
        """Return the spans of a decision for which these reasons hold; none if it is not drawn."""
        try:
            traceparent = self._traceparent(joined, row)
            trace_id = trace_id_of(joined.id(row), traceparent)
            why = sample(names, trace_id, caller_of(traceparent), settings)
            return spans_of(self._recorded(joined, row, why)) if why else []
        except RdvError:
            raise
        except Exception:  # one record must not hold up all others for ever
            if not self._has_failed:
                self._has_failed = True
                text = "spans are dropped: those of request %s cannot be made"
                log.exception(text, joined.id(row), extra=coded("traces_dropped"))
            self.failed += 1
            return []

    def _traceparent(self, joined: Joined, row: int) -> str:
        """Return the caller's; few requests have one, and only these are decoded."""
        line = joined.line(joined.request_at[row])
        if line is None or _TRACED not in line:
            return ""
        return joined.request(row).traceparent

    def _recorded(self, joined: Joined, row: int, why: tuple[str, ...]) -> Recorded:
        request = joined.request(row)
        result, own = joined.server_result(row), joined.own_answer(row)
        answer = own or result
        reports = reports_of(joined, row, result)
        steps = []
        if answer is not None and answer.step:
            label = answer.schedule
            schedule = self._shelf.find(label, joined.asked.at(row))
            if schedule is None and label not in self._unknown:
                self._read()
                schedule = self._shelf.find(label, joined.asked.at(row))
            if schedule is None:
                self._unknown.add(label)
            else:
                dead = self._news.dead_at(int(joined.append_ns[row]))
                steps = steps_of(joined, row, schedule, reports, dead, request)
        return Recorded(self._name, request, answer, reports, steps, why, self._remote)

    def _read(self) -> None:
        with Streams(self._directory) as streams:
            self._shelf = read_schedules(streams, self._notes)
            self._news = read_model_news(streams, self._notes)
