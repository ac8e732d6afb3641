"""Models: how they agree, how good and how quick they are, and which requests to label next."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass

import msgspec
import numpy as np
import numpy.typing as npt
import orjson
from starlette.datastructures import QueryParams

from rdv.analysis.charts import Axis, Figure, Report, cumulative_chart, number, share
from rdv.analysis.charts.markup import Markup, tag
from rdv.analysis.dataset.joined import RESULT, Joined
from rdv.analysis.dataset.keys import Keys, hashed_keys
from rdv.analysis.metrics import TooFew, Undefined, estimate
from rdv.analysis.statistics import InvalidSample
from rdv.analysis.statistics.drift.distances import Bins, Psi, psi
from rdv.api.opened import open as open_decision
from rdv.console.page import parts
from rdv.console.page.errors import OutcomeUnusable, WritingOff
from rdv.console.page.hidden import Hider, without_quotes
from rdv.console.page.latest import LastRequests
from rdv.console.page.site import Site
from rdv.decision.console import Console
from rdv.decision.schedules import read_schedule
from rdv.errors import RdvError
from rdv.payload import UnusableJson, read_recorded
from rdv.rendezvous.schedule import Schedule

SAMPLE = 1_000
"""How many reports of each model are read for its versions."""
PAIRS_MIN = 20
"""The least requests that two models must have answered both for their agreement to be shown."""
QUEUE = 20
OUTCOMES_SHOWN = 4
HALF_MIN = 100
CLASSES_MAX = 1_000
DRIFTED = 0.1
"""The stability index from which on a change is large enough to matter, as for `rdv compare`."""
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class _Model:
    """One model's columns."""

    name: str
    values: Floats
    is_answer: npt.NDArray[np.bool_]
    arrival_ms: Floats
    """Of its answers."""


class KeptView:
    """The view of the newest reading of the log, computed once for all viewers. Thread-safe."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.found: tuple[int, Console, Report] | None = None


def models_view(site: Site, kept: KeptView) -> Report:
    """Return the view. Raises NothingRecorded."""
    last, settings = site.latest.get(), site.decision().console
    with kept.lock:
        if kept.found is None or kept.found[:2] != (last.number, settings):
            kept.found = last.number, settings, _report(site, last, settings)
        return kept.found[2]


def _report(site: Site, last: LastRequests, settings: Console) -> Report:
    report = Report("Models", f"By the last {len(last):,} requests, {parts.span_of(last)}")
    with last.lock:
        models = _models(last)
        report.table(*_figures(last, models), "Value, latency, drift")
        report.paragraphs([_reading(last)])
        samples = {one.name: one.arrival_ms for one in models if len(one.arrival_ms)}
        if samples:
            report.chart(
                cumulative_chart("When the answers come", Axis("time", "ms", low=0.0), samples)
            )
        report.table(*_agreement(last, models), "Agreement")
        report.table(*_versions(last, models), "Versions")
        report.heading("Most worth labelling")
        _add_queue(report, last, models, settings)
    report.heading("Go on from here")
    names = [one.name for one in models][:2]
    lines = [f"rdv compare {site.folder} {' '.join(names)}"] if len(names) > 1 else []
    report.add(parts.code("\n".join([*lines, f"rdv model worth {site.folder}"]), "Commands"))
    return report


def _models(last: LastRequests) -> list[_Model]:
    """Return the models that have answered, in the order of the live schedule."""
    joined = last.joined
    assert joined.value is not None
    found = []
    for name, values, outcome, arrival in zip(
        joined.models, joined.value, joined.outcome, joined.arrival_ms, strict=True
    ):
        is_answer = outcome == RESULT
        if is_answer.any():
            came = arrival[is_answer]
            found.append(_Model(name, values, is_answer, came[~np.isnan(came)]))
    order = _order(last)
    return sorted(found, key=lambda one: (order.get(one.name, len(order)), one.name))


def _order(last: LastRequests) -> dict[str, int]:
    try:
        schedule: Schedule = read_schedule(last.decision)
    except RdvError:
        return {}
    names = dict.fromkeys(name for step in schedule.steps for name in step.accept)
    return {name: place for place, name in enumerate(names)}


def _figures(last: LastRequests, models: Sequence[_Model]) -> tuple[list[str], list[list[object]]]:
    metric = last.measure.metric
    known = np.flatnonzero(~np.isnan(last.truths)) if len(last.outcomes) else np.empty(0, np.int64)
    keys = hashed_keys(last.joined)[known] if len(known) else None
    rows: list[list[object]] = []
    for one in models:
        p50, p99 = np.quantile(one.arrival_ms, [0.5, 0.99]) if len(one.arrival_ms) else (None, None)
        drift = drift_of(one.values, is_number=last.measure.extract.is_number)
        rows.append(
            [
                one.name,
                _value(last, one, known, keys),
                share(float(one.is_answer.mean())),
                Figure("–" if p50 is None else number(float(p50))),
                Figure("–" if p99 is None else number(float(p99))),
                _drift_words(drift),
            ]
        )
    return ["model", f"{metric.title} (95 %)", "answers", "p50 (ms)", "p99 (ms)", "drift"], rows


def _value(
    last: LastRequests, one: _Model, known: npt.NDArray[np.int64], keys: Keys | None
) -> Figure:
    measure = last.measure
    if not len(known) or measure.problem:
        return Figure("–")
    truths = last.truths[known]
    points = measure.points(last.joined, one.values, last.truths)[known]
    try:
        found = estimate(
            measure.metric,
            points,
            truths,
            keys,
            missing=measure.missing,
            positive=measure.positive,
        )
    except InvalidSample:
        return Figure("–")
    if isinstance(found, Undefined):
        return Figure("–")
    if isinstance(found, TooFew):
        return Figure(number(found.estimate))
    return Figure(f"{number(found.estimate)} ({number(found.low)} to {number(found.high)})")


def _reading(last: LastRequests) -> str:
    if not len(last.outcomes):
        return "No outcome is known yet: answers cannot be held against anything."
    return f"{last.measure.sentence()}."


def drift_of(values: Floats, *, is_number: bool) -> Psi | None:
    """Return how far the second half of the values has moved from the first half.

    None with too few values, or too many classes.
    """
    known = values[~np.isnan(values)]
    half = len(known) // 2
    if half < HALF_MIN:
        return None
    if not is_number:
        count = int(known.max()) + 1
        if count > CLASSES_MAX:
            return None
        codes = known.astype(np.int64)
        return psi(*(np.bincount(one, minlength=count) for one in (codes[:half], codes[half:])))
    bins = Bins.of(known[:half])
    return psi(bins.count(known[:half]), bins.count(known[half:]))


def _drift_words(found: Psi | None) -> Markup:
    if found is None:
        return parts.kind_mark("", "too few")
    if found.value < DRIFTED or not found.significant:
        return parts.kind_mark("good", f"steady ({found.value:.3f})")
    return parts.kind_mark("bad", f"moved ({found.value:.3f})")


def agreement(last: LastRequests, a: Floats, b: Floats) -> float | None:
    """Return how often two models say the same, or how their numbers are correlated by rank.

    None with too few requests that both have answered.
    """
    both = ~np.isnan(a) & ~np.isnan(b)
    if int(both.sum()) < PAIRS_MIN:
        return None
    first, second, reading = a[both], b[both], last.measure.extract.reading
    if reading.kind == "probability":
        same = (first >= reading.threshold) == (second >= reading.threshold)
        return float(same.mean())
    if not last.measure.extract.is_number:
        return float((first == second).mean())
    ranks = [np.argsort(np.argsort(one)) for one in (first, second)]
    found = float(np.corrcoef(ranks[0], ranks[1])[0, 1])
    return None if np.isnan(found) else found


def _agreement(
    last: LastRequests, models: Sequence[_Model]
) -> tuple[list[str], list[list[object]]]:
    rows: list[list[object]] = []
    for one in models:
        cells: list[object] = [one.name]
        for other in models:
            found = agreement(last, one.values, other.values)
            if found is None:
                cells.append(Figure("–"))
            else:
                level = min(9, max(0, int(10 * found)))
                text = f"{100 * found:.1f}\N{NO-BREAK SPACE}%"
                cells.append(tag("span", text, class_=f"heat h{level} num"))
        rows.append(cells)
    return ["model", *(one.name for one in models)], rows


def _versions(last: LastRequests, models: Sequence[_Model]) -> tuple[list[str], list[list[object]]]:
    """Return which version of each model answered from when to when, by a sample of its reports."""
    joined = last.joined
    rows: list[list[object]] = []
    for one in models:
        at = joined.models.index(one.name)
        there = np.flatnonzero(one.is_answer)
        sample = there[np.unique(np.linspace(0, len(there) - 1, SAMPLE).round().astype(int))]
        seen: dict[str, list[int]] = {}
        for row in sample.tolist():
            score = joined.score(at, row)
            if score is not None:
                seen.setdefault(score.version or "–", []).append(row)
        for version, found in seen.items():
            rows.append(
                [
                    one.name,
                    version,
                    parts.clock_time(int(joined.append_ns[found[0]])),
                    parts.clock_time(int(joined.append_ns[found[-1]])),
                    share(len(found) / len(sample)),
                ]
            )
    return ["model", "version", "from (UTC)", "to", "share"], rows


def _add_queue(
    report: Report, last: LastRequests, models: Sequence[_Model], settings: Console
) -> None:
    can_write = settings.allow_writes
    rows = worth_labelling(last, models)
    if not len(rows):
        report.paragraphs(["No request without an outcome divides the models."])
        return
    joined, hider = last.joined, Hider(settings.hidden_fields)
    # Outcomes of other requests may have what is hidden: they are typed then.
    known = _known_outcomes(last) if can_write and not hider else []
    cells: list[list[object]] = []
    for row in rows.tolist():
        request = joined.request(row)
        data = bytes(request.data)
        quoted = hider.quoted(data)
        said = " · ".join(
            f"{one.name} {_said(joined, one.name, row, hider, quoted)}" for one in models
        )
        line: list[object] = [
            parts.decision_link(joined.id(row)),
            parts.cut_cell(hider.json(data), 120),
            parts.cut_cell(said, 160),
        ]
        if can_write:
            line.append(_tell(joined.id(row), known))
        cells.append(line)
    columns = ["id", "data", "what the models say"]
    report.paragraphs(
        ["Requests without an outcome on which the models differ most: each label tells most here."]
    )
    report.table([*columns, "outcome"] if can_write else columns, cells, full=True)
    if not can_write:
        report.paragraphs(
            ["Outcomes are told by rdv outcome, or here with [console] allow_writes = true."]
        )


def worth_labelling(last: LastRequests, models: Sequence[_Model]) -> npt.NDArray[np.int64]:
    """Return the requests without an outcome on which the models differ most."""
    if len(models) < 2:  # noqa: PLR2004 - one cannot differ
        return np.empty(0, np.int64)
    values = np.stack([one.values for one in models])
    there = (~np.isnan(values)).sum(axis=0) > 1
    unknown = np.isnan(last.truths) & there
    rows = np.flatnonzero(unknown)
    own = values[:, rows]
    if last.measure.extract.is_number:
        apart = np.nanmax(own, axis=0) - np.nanmin(own, axis=0) if len(rows) else np.empty(0)
    else:
        first = np.nanmax(np.where(np.isnan(own), -np.inf, own), axis=0)
        apart = ((own != first) & ~np.isnan(own)).sum(axis=0).astype(float)
    order = np.argsort(-apart, kind="stable")
    order = order[apart[order] > 0][: 100 * QUEUE]
    # Of requests with the same answers one is enough.
    _, first = np.unique(np.nan_to_num(own[:, order], nan=-1.0), axis=1, return_index=True)
    return rows[order[np.sort(first)]][:QUEUE]


def _said(joined: Joined, model: str, row: int, hider: Hider, quoted: Sequence[str]) -> str:
    score = joined.score(joined.models.index(model), row)
    if score is None or isinstance(score.result, msgspec.UnsetType):
        return "–"
    return parts.short(without_quotes(hider.json(bytes(score.result)), quoted), 60)


def _known_outcomes(last: LastRequests) -> list[str]:
    """Return the outcomes that occur, as JSON: few of them are buttons."""
    found: dict[str, None] = {}
    for id_ in last.joined.ids[~np.isnan(last.truths)][:10_000].tolist():
        raw = last.outcomes.raw(id_.decode())
        if raw is not None:
            found.setdefault(raw.decode(errors="replace"))
        if len(found) > OUTCOMES_SHOWN:
            return []
    return list(found)


def _tell(id_: str, known: Sequence[str]) -> Markup:
    hidden = parts.hidden_field("id", id_)
    buttons = [
        parts.button(parts.short(one, 24), name="outcome", value=one, class_="small",
                     aria_label=f"The outcome of {parts.short_id(id_)} is {one}")
        for one in known
    ]  # fmt: skip
    if not buttons:
        buttons = [
            tag("input", name="outcome", type="text", size="8", required="",
                aria_label=f"Outcome of {parts.short_id(id_)}, as JSON"),
            parts.button("Tell", class_="small"),
        ]  # fmt: skip
    return tag("form", hidden, *buttons, action="/outcomes", method="post", class_="pager")


def tell_outcome(site: Site, form: QueryParams) -> str:
    """Record the outcome of a request; return the request's id.

    Raises WritingOff, OutcomeUnusable, NoRequestMatches, the log's SystemFaults.
    """
    if not site.decision().console.allow_writes:
        raise WritingOff("telling an outcome")
    id_, text = form.get("id", ""), form.get("outcome", "").strip()
    try:
        outcome = read_recorded(text.encode())
        orjson.loads(text)
    except (UnusableJson, orjson.JSONDecodeError):
        raise OutcomeUnusable(parts.short(text, 80)) from None
    open_decision(site.directory).record_outcomes([(id_, outcome)])
    return id_
