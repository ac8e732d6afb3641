"""Implement `rdv.open`: a decision's directory, opened for reading."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from datetime import UTC, date, datetime
from typing import Any

from rdv.analysis.compare import Comparison
from rdv.analysis.dataset.places import Recorded
from rdv.analysis.explain import Explanation
from rdv.analysis.optimise.result import Optimum
from rdv.analysis.replay.result import Findings
from rdv.analysis.verify import Verification
from rdv.analysis.verify import verify as verify_study
from rdv.analysis.whatif.result import WhatIf
from rdv.api import studies
from rdv.api.measured import By, errors_table, metrics_table
from rdv.api.outcomes import RecordedOutcomes, record_frame
from rdv.api.table import Table
from rdv.api.tables import Span, Value, joined_table, long_scores, of_stream, wide_scores
from rdv.client.errors import InvalidCall
from rdv.decision import Decision, load_decision
from rdv.decision.schedules import schedule_of
from rdv.named_times import bound_of, parse_duration_ns
from rdv.rendezvous.schedule import Schedule

Time = str | int | datetime | date | None
"""A time: `"7d"` (ago), `"yesterday"`, `"11:37"`, ISO (UTC without a zone), a datetime, ns."""


class OpenDecision:
    """An `OpenDecision` is a decision's directory, opened for reading, whether it runs or not.

        fraud = rdv.open("fraud")
        fraud.scores(since="1d").to_pandas()
        fraud.whatif("fraud/schedules/production.toml")

    Looking creates nothing. Tables are read when they are used (`Table`); studies are values, which
    a notebook shows as reports. `since` and `until` bound the times when requests were appended:
    `"7d"` (ago), `"yesterday"`, `"11:37"`, ISO (UTC without a zone), a datetime, or ns since 1970.
    The settings are those of rdv.toml when it was opened. Thread-safe.
    """

    def __init__(self, directory: str) -> None:
        """See `open`."""
        self._decision = load_decision(os.path.abspath(directory))

    @property
    def directory(self) -> str:
        """The decision's directory."""
        return self._decision.directory

    @property
    def settings(self) -> Decision:
        """The settings of rdv.toml, typed."""
        return self._decision

    def __repr__(self) -> str:
        return f"rdv.open({self.directory!r})"

    def _recorded(self) -> Recorded:
        return Recorded(self.directory)

    # Tables

    def requests(self, since: Time = None, until: Time = None) -> Table:
        """Return one row for each request: id, time, key, cohort, data (JSON), and so on."""
        return of_stream(self._recorded, "input", "requests", _span(since, until))

    def results(self, since: Time = None, until: Time = None) -> Table:
        """Return one row for each answer: kind, model, version, result, reason, waited_ms."""
        return of_stream(self._recorded, "results", "results", _span(since, until))

    def outcomes(self, since: Time = None, until: Time = None) -> Table:
        """Return one row for each recorded outcome; the latest of an id counts."""
        return of_stream(self._recorded, "outcomes", "outcomes", _span(since, until))

    def scores(
        self,
        since: Time = None,
        until: Time = None,
        *,
        long: bool = False,
        value: Value = "auto",
    ) -> Table:
        """Return one row for each request, and a column for each model, null without a result.

        A model's column has its name, or `score.NAME` for a model called id, time or key.
        A column has the model's score, or its label if it gives no scores; `value` chooses: score,
        label, or result (JSON). With `long` there is one row for each report of a model instead,
        with version, error and arrival.
        """
        span = _span(since, until)
        if value not in ("auto", "score", "label", "result"):
            raise InvalidCall(f"value is auto, score, label or result, not {value!r}")
        return (
            long_scores(self._recorded, span) if long else wide_scores(self._recorded, span, value)
        )

    def joined(self, since: Time = None, until: Time = None) -> Table:
        """Return one row for each request: data, all models' scores, the answer and the truth.

        A field of the data is `data.NAME`, a model's score `score.NAME`. The fields and their types
        are those of a sample of old and new requests; what does not fit is null here, and whole in
        `requests`.
        """
        return joined_table(self._recorded, _span(since, until))

    def metrics(
        self,
        by: By = "version",
        since: Time = None,
        until: Time = None,
        *,
        metric: str = "",
        on: str | None = None,
    ) -> Table:
        """Return how good each version of each model is, by known outcomes, with 95 % intervals.

        by: version, or model. metric: as `rdv compare --metric`; by default that of [outcome], or
        by the type of the outcomes. on: the field of the answers that counts.
        """
        if by not in ("version", "model"):
            raise InvalidCall(f"by is version or model, not {by!r}")
        with self._recorded() as recorded:
            return metrics_table(recorded, self._decision, _span(since, until), by, metric, on)

    def errors(self, model: str | None = None, since: Time = None, until: Time = None) -> Table:
        """Return the errors of a model, or of all, grouped, the most frequent first.

        Each group has an example: the id of its last request, and what the model was given.
        """
        with self._recorded() as recorded:
            return errors_table(recorded, model, _span(since, until))

    # Writing

    def record_outcomes(
        self,
        given: Any,
        *,
        id: str = "id",  # noqa: A002
        outcome: str = "outcome",
        time: str = "time",
    ) -> RecordedOutcomes:
        """Record the outcomes of a frame, of pairs (id, outcome), or of mappings, as `rdv outcome`.

        A frame is anything with the Arrow C stream protocol; `id`, `outcome` and `time` name its
        columns. Rows without an outcome (null, NaN) are left out. Every row is checked before any
        is recorded. Returns how many were recorded, and how many ids are of no recorded request; if
        all are, nothing is recorded. Raises LineUnusable, FrameUnusable, NoRequestMatches.
        """
        return record_frame(self._decision, given, id, outcome, time, _now_ns())

    # Studies

    def explain(self, id: str) -> Explanation:  # noqa: A002
        """Explain an answer: arrivals, steps, and the answers of the other models.

        id: of the request, or its first or last six digits or more. Raises RequestNotFound.
        """
        with self._recorded() as recorded:
            return studies.explain(recorded, id)

    def whatif(
        self,
        schedule: str | Mapping[str, Any] | Schedule,
        since: Time = None,
        until: Time = None,
        *,
        on: str | None = None,
        metric: str = "",
    ) -> WhatIf:
        """Return what another schedule would have answered to the recorded requests.

        schedule: a name, a file, or the schedule as an object. `exploration` of the result is what
        randomised requests say of it and of the live one.
        """
        wanted = schedule_of(self._decision, schedule)
        with self._recorded() as recorded:
            span = _span(since, until)
            return studies.whatif(recorded, self._decision, wanted, span, on=on, metric=metric)

    def compare(
        self,
        first: str,
        second: str,
        since: Time = None,
        until: Time = None,
        *,
        on: str | None = None,
        metric: str = "",
        by: str | None = None,
        canary: str | None = None,
    ) -> Comparison:
        """Compare two models on the same requests. The arguments are those of `rdv compare`.

        `exploration` of the result is what randomised requests say of both.
        """
        with self._recorded() as recorded:
            return studies.compare(
                recorded,
                self._decision,
                first,
                second,
                _span(since, until),
                on=on,
                metric=metric,
                by=by,
                canary=canary,
            )

    def optimise(
        self,
        since: Time = None,
        until: Time = None,
        *,
        p99_ms: float | None = None,
        need_outcomes: bool = False,
        on: str | None = None,
        metric: str = "",
        tries: int = studies.TRIES,
    ) -> Optimum:
        """Search for a better schedule, judged by the recorded requests. See `rdv optimise`."""
        with self._recorded() as recorded:
            return studies.optimise(
                recorded,
                self._decision,
                _span(since, until),
                p99_ms_max=p99_ms,
                need_outcomes=need_outcomes,
                on=on,
                metric=metric,
                tries=tries,
            )

    def replay(
        self,
        model: str | None = None,
        since: Time = None,
        until: Time = None,
        *,
        name: str | None = None,
        on: str | None = None,
        metric: str = "",
        speed: float | None = None,
        warm_up: str = "",
        command: list[str] | None = None,
        decoy: str | None = None,
        out: str | None = None,
    ) -> Findings:
        """Run a model on recorded requests in a process of its own, and compare its answers.

        model: a declared model, or a model's file. name: the declared model whose other settings
            are used; by default one made from the file's name. command: a program in place of a
            file. warm_up: from how long before `since` the model is fed first, `1h` or `all`.
            decoy: the decoy whose archive has the requests. out: a Parquet file for every result.

        The other arguments are those of `rdv replay`.
        """
        path = model
        if model in self._decision.models and name is None:
            path, name = None, model
        with self._recorded() as recorded:
            return studies.replay(
                recorded,
                self._decision,
                path,
                _span(since, until),
                name=name,
                command=command,
                on=on,
                metric=metric,
                speed=speed,
                warm_up_ns=_warm_up_ns(warm_up),
                decoy=decoy,
                out=out,
            )

    def verify(self, since: Time = None, until: Time = None) -> Verification:
        """Decide every recorded request again, and return the differences."""
        with self._recorded() as recorded:
            return verify_study(recorded, *_span(since, until))


def open(directory: str | os.PathLike[str]) -> OpenDecision:  # noqa: A001 - `rdv.open` is its name
    """Open a decision's directory for reading. See `OpenDecision`.

    Raises DecisionNotFound, InvalidDecision; tables and studies NothingRecorded if nothing is.
    """
    return OpenDecision(os.fspath(directory))


def _now_ns() -> int:
    return time.time_ns()


def _warm_up_ns(text: str) -> int | None:
    """Return a warm-up in ns; None for all. Raises InvalidQuantity."""
    if text == "all":
        return None
    return parse_duration_ns(text) if text else 0


def _span(since: Time, until: Time) -> Span:
    now_ns = _now_ns()
    return _bound(since, now_ns), _bound(until, now_ns)


def _bound(given: Time, now_ns: int) -> int | None:
    """Return a time in ns since 1970. Raises InvalidQuantity."""
    if given is None:
        return None
    if isinstance(given, str):
        return bound_of(given, now_ns).time_ns
    if isinstance(given, datetime):
        aware = given if given.tzinfo is not None else given.replace(tzinfo=UTC)
        return bound_of(aware.isoformat(), now_ns).time_ns
    if isinstance(given, date):
        return bound_of(given.isoformat(), now_ns).time_ns
    return int(given)
