"""What if: move the ends of the steps, and see what the last requests would have been answered."""

from __future__ import annotations

import itertools
import re
import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import urlencode

import msgspec
import numpy as np
from starlette.datastructures import QueryParams

from rdv.analysis.charts import Axis, Chart, Report, line_chart, number, share
from rdv.analysis.charts.chart import FloatArray
from rdv.analysis.charts.format import Figure
from rdv.analysis.charts.kinds import kinds_mix
from rdv.analysis.charts.lanes import Lanes
from rdv.analysis.charts.markup import Markup, tag
from rdv.analysis.dataset.joined import PREFERRED, RESULT, Joined
from rdv.analysis.optimise.study import to_toml
from rdv.analysis.whatif.held import Tried
from rdv.analysis.whatif.lanes import models_of, schedule_lanes
from rdv.analysis.whatif.study import what_if_held
from rdv.analysis.whatif.view import models_mix
from rdv.console.page import parts
from rdv.console.page.errors import WritingOff
from rdv.console.page.latest import LastRequests
from rdv.console.page.site import Site
from rdv.decision import Decision
from rdv.decision.edit import add_schedule
from rdv.decision.load import schedule_names
from rdv.decision.schedules import lint, read_schedule
from rdv.named_times import bound_of
from rdv.rendezvous.schedule import OTHERS, InvalidSchedule, Schedule, Step, schedule_from_object
from rdv.rendezvous.schedule.model import content

PATH = "/whatif"
_SPAN = ("from", "to")
KEPT_MAX = 64
"""How many schedules' figures are kept for other viewers, and for the same one going back."""
CHANGES_SHOWN = 15
RIDGE_PARTS = 60
TIME_PARTS = 60
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_\-]{0,60}")


@dataclass(frozen=True)
class Wanted:
    """A schedule as the address of the view describes it: changes of one that exists."""

    base: Schedule
    schedule: Schedule
    """Named `edited` unless it is the base itself."""
    orders: tuple[tuple[str, ...], ...]
    """For each step all models in the order of the form, accepted or not."""

    @property
    def is_changed(self) -> bool:
        return self.schedule is not self.base


def wanted_of(decision: Decision, models: Sequence[str], query: QueryParams) -> Wanted:
    """Return what the parameters ask for: `schedule`, `until_N` in ms, `accept_N` repeated.

    `move` ("up:N:MODEL") is a button of the form. Raises ScheduleNotFound, InvalidSchedule.
    """
    base = read_schedule(decision, query.get("schedule", ""))
    steps, orders = [], []
    for n, step in enumerate(base.steps, start=1):
        known = list(dict.fromkeys([*step.accept, *models, OTHERS]))
        order = [one for one in query.getlist(f"order_{n}") if one in known]
        order += [one for one in known if one not in order]
        _move(order, query.get("move", ""), n)
        accept = list(step.accept)
        if f"order_{n}" in query:
            ticked = query.getlist(f"accept_{n}")
            accept = [one for one in order if one in ticked]
        if not accept:
            raise InvalidSchedule("this schedule", f"step {n}", "no model is accepted")
        until_ms = _until(query, n, step)
        steps.append(msgspec.structs.replace(step, accept=accept, until_ms=until_ms))
        orders.append(tuple(order))
    for one, after in itertools.pairwise(steps):
        if (one.until_ms or 0) > (after.until_ms or base.sla_ms):
            reason = "a step ends before the one before it"
            raise InvalidSchedule("this schedule", "until_ms", reason)
    if steps == list(base.steps):
        return Wanted(base, base, tuple(orders))
    edited = msgspec.structs.replace(base, steps=steps)
    return Wanted(base, schedule_from_object(content(edited), "edited"), tuple(orders))


def _until(query: QueryParams, n: int, step: Step) -> float | None:
    given = query.get(f"until_{n}")
    if given is None or step.until_ms is None:
        return step.until_ms
    try:
        return float(given)
    except ValueError:
        reason = f"{given!r} is not a number of ms"
        raise InvalidSchedule("this schedule", f"step {n}: until_ms", reason) from None


def _move(order: list[str], move: str, n: int) -> None:
    """Do what a button of the form asks for, where no script has done it."""
    what, _, rest = move.partition(":")
    number_, _, model = rest.partition(":")
    if number_ != str(n) or model not in order:
        return
    at = order.index(model)
    to = at - 1 if what == "up" else at + 1
    if 0 <= to < len(order):
        order[at], order[to] = order[to], order[at]


class Tries:
    """Figures of schedules on the last requests, computed once for all viewers. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: OrderedDict[tuple[int, str, bool], Markup] = OrderedDict()

    def kept(self, key: tuple[int, str, bool]) -> Markup | None:
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
            return self._kept.get(key)

    def keep(self, key: tuple[int, str, bool], found: Markup) -> None:
        with self._lock:
            self._kept[key] = found
            while len(self._kept) > KEPT_MAX:
                self._kept.popitem(last=False)


def whatif_view(site: Site, tries: Tries, query: QueryParams) -> Report:
    """Return the view. Raises NothingRecorded, ScheduleNotFound, InvalidSchedule."""
    last = _requests(site, query, fresh=True)
    decision = site.decision()
    models = _models(last)
    wanted = wanted_of(decision, models, query)
    report = Report("What if", f"On {len(last):,} requests, {parts.span_of(last)}")
    is_span = bool(query.get("from") or query.get("to"))
    span = (parts.iso(last.since_ns), parts.iso(last.until_ns)) if is_span else ("", "")
    report.add(_choices(decision, wanted, span))
    report.chart(_lanes(last, wanted))
    report.add(_form(decision, wanted, span))
    report.heading("What it would have been")
    report.add(tag("div", figures(site, tries, last, wanted, full=False), id="figures",
                   class_="parts"))  # fmt: skip
    report.add(tag("p", "", id="figures-said", class_="status", role="status"))
    return report


def _requests(site: Site, query: QueryParams, *, fresh: bool) -> LastRequests:
    """Return the last requests, or those of the span that the parameters name (`from`, `to`).

    Raises InvalidQuantity, NothingRecorded.
    """
    begin, end = query.get("from", "").strip(), query.get("to", "").strip()
    if not (begin or end):
        return site.latest.get(fresh=fresh)
    now_ns = site.now_ns()
    since_ns = bound_of(begin, now_ns).time_ns if begin else 0
    return site.latest.between(since_ns, bound_of(end, now_ns).time_ns if end else now_ns)


def figures_part(site: Site, tries: Tries, query: QueryParams) -> Markup:
    """Return the figures alone, for the script. Requests are not read anew while one drags."""
    last = _requests(site, query, fresh=False)
    try:
        wanted = wanted_of(site.decision(), _models(last), query)
    except InvalidSchedule as error:
        return tag("p", f"✗ {error.text()}", class_="verdict bad")
    return figures(site, tries, last, wanted, full=query.get("full") == "1")


def figures(site: Site, tries: Tries, last: LastRequests, wanted: Wanted, *, full: bool) -> Markup:
    """Return the figures of a schedule; `full`: with intervals, which take longer."""
    key = last.number, wanted.schedule.label, full
    found = tries.kept(key)
    if found is None:
        with last.lock:
            tried = last.held.try_schedule(wanted.schedule)
            found = _figures(last, tried)
            if full:
                found = Markup(found + _intervals(last, wanted.schedule))
        tries.keep(key, found)
    return Markup(found + _saving(site, last, wanted))


def _figures(last: LastRequests, tried: Tried) -> Markup:
    report = Report("")
    was, now = tried.recorded.as_json(), tried.new.as_json()
    count = max(1, tried.recorded.requests)
    metric = last.measure.metric
    values: dict[str, object] = {
        "within the SLA": _arrow(was, now, "sla_attainment"),
        "preferred": _arrow(was, now, "preferred"),
        "fallback": _arrow(was, now, "fallback"),
        "default": _arrow(was, now, "default"),
        "p50 (ms)": _arrow(was, now, "p50_ms"),
        "p99 (ms)": _arrow(was, now, "p99_ms"),
    }
    if was["accuracy"] is not None and now["accuracy"] is not None:
        values["right answers"] = _arrow(was, now, "accuracy")
    if tried.metric is not None and metric.name != "accuracy":
        unit = f" ({last.measure.unit})" if last.measure.unit else ""
        values[f"{metric.title}{unit}"] = f"{number(tried.metric[0])} → {number(tried.metric[1])}"
    values["another model answers"] = share(len(tried.changed) / count)
    if tried.compared:
        values["answers that change"] = share(tried.changed_answer / tried.compared)
    report.figures(values)
    sides = {"recorded": tried.recorded, "what if": tried.new}
    report.chart(kinds_mix({name: side.kinds for name, side in sides.items()}))
    report.chart(models_mix(sides))
    if (chart := _over_time(last.joined, tried)) is not None:
        report.chart(chart)
    rows = [[a, b, n] for (a, b), n in tried.changes.most_common(10)]
    if rows:
        report.table(["recorded", "what if", "requests"], rows, "Another model answers")
        report.table(*_changed(last.joined, tried), "Requests that would change, the newest")
    return report.summary()


def _over_time(joined: Joined, tried: Tried) -> Chart | None:
    """Return the share of answers that are not the preferred one, over the time; None if short."""
    times_s = joined.append_ns / 1e9
    edges = np.linspace(times_s.min(), times_s.max(), TIME_PARTS + 1)
    if edges[-1] - edges[0] < 1:
        return None
    place = np.clip(np.searchsorted(edges, times_s, "right") - 1, 0, TIME_PARTS - 1)
    count = np.bincount(place, minlength=TIME_PARTS).astype(float)
    count[count == 0] = np.nan
    middle = (edges[:-1] + edges[1:]) / 2
    lines = {
        name: (middle, np.bincount(place[kind != PREFERRED], minlength=TIME_PARTS) / count)
        for name, kind in (("recorded", joined.kind), ("what if", tried.decided.kind))
    }
    return line_chart(
        "Not the preferred answer, over time",
        Axis("time", measure="time"),
        Axis("share of answers", measure="share", low=0.0, high=1.0),
        lines,
    )


def _arrow(was: dict[str, float], now: dict[str, float], key: str) -> str | None:
    if was[key] is None or now[key] is None:
        return None
    show = number if key.endswith("_ms") else share
    text = f"{show(was[key])} → {show(now[key])}"
    return text.replace(" %", "\N{NO-BREAK SPACE}%")


def _changed(joined: Joined, tried: Tried) -> tuple[list[str], list[list[object]]]:
    rows: list[list[object]] = [
        [
            parts.clock_time(int(joined.append_ns[row])),
            parts.decision_link(joined.id(row)),
            joined.model.at(row) or "default",
            Figure(number(float(joined.waited_ms[row]))),
            tried.names.at(row) or "default",
            Figure(number(float(tried.decided.at_us[row]) / 1000)),
        ]
        for row in tried.changed[::-1][:CHANGES_SHOWN].tolist()
    ]
    return ["time (UTC)", "id", "recorded", "waited (ms)", "what if", "would wait (ms)"], rows


def _intervals(last: LastRequests, schedule: Schedule) -> Markup:
    """Return what is sure of the differences, as `rdv whatif` says it."""
    found = what_if_held(last.joined, schedule, last.shelf, last.measure, last.outcomes, last.notes)
    report = Report("")
    report.bullets([*found.sentences(), *found.caveats()])
    return report.summary()


def _saving(site: Site, last: LastRequests, wanted: Wanted) -> Markup:
    """Return the file and the commands that make this the schedule."""
    name = f"{wanted.base.name}-edited" if wanted.is_changed else wanted.base.name
    remark = (
        f"Made on the page from {wanted.base.name}, by {len(last):,} requests "
        f"until {parts.iso(last.until_ns)}"
    )
    file = f"{site.folder}/schedules/{name}.toml"
    span = f"--since {parts.iso(last.since_ns)} --until {parts.iso(last.until_ns)}"
    lines = [
        f"rdv whatif {site.folder} --schedule {name} {span}",
        f"rdv schedule check {site.folder} {name}",
        f"rdv schedule use {site.folder} {name}",
    ]
    items = [tag("summary", "Save as schedule: the file, and the commands")]
    if wanted.is_changed:
        items.append(tag("p", f"Save as {file}:", class_="note"))
        items.append(parts.code(to_toml(wanted.schedule, remark), "The file of the schedule"))
    items.append(tag("p", "Judge it with intervals, check it, make it live:", class_="note"))
    items.append(parts.code("\n".join(lines), "Commands"))
    return tag("details", *items)


def _models(last: LastRequests) -> list[str]:
    return [name for name, row in zip(last.joined.models, last.joined.outcome, strict=True)
            if (row == RESULT).any()]  # fmt: skip


def _lanes(last: LastRequests, wanted: Wanted) -> Lanes:
    schedule, joined = wanted.schedule, last.joined
    names = [
        "" if step.until_ms is None else f"until_{n}"
        for n, step in enumerate(wanted.base.steps, start=1)
    ]
    models = models_of(schedule, _models(last))
    ridges = {name: ridge_of(joined, name, schedule.sla_ms) for name in models}
    return schedule_lanes(
        "When the answers come, and who is accepted", schedule, _models(last),
        ridges={name: ridge for name, ridge in ridges.items() if ridge is not None}, names=names,
        note="A hill: how many answers of the model came when. A bar: it is accepted, a darker "
        "one: it is preferred. Drag the dark lines, or use the sliders.",
    )  # fmt: skip


def ridge_of(joined: Joined, model: str, end_ms: float) -> FloatArray | None:
    """Return the share of a model's answers that came in each part of the time; None: no answer."""
    if model not in joined.models:
        return None
    at = joined.models.index(model)
    came = joined.arrival_us[at][joined.outcome[at] == RESULT]
    if not len(came):
        return None
    counts, _ = np.histogram(came, RIDGE_PARTS, (0, end_ms * 1000))
    found: FloatArray = counts / len(came)
    return found


def _form(decision: Decision, wanted: Wanted, span: tuple[str, str]) -> Markup:
    schedule = wanted.schedule
    steps = []
    for n, (step, order) in enumerate(zip(schedule.steps, wanted.orders, strict=True), start=1):
        steps.append(_step(n, step, order, schedule.sla_ms))
    tools = [
        parts.hidden_field("schedule", wanted.base.name),
        *(parts.hidden_field(name, at) for name, at in zip(_SPAN, span, strict=True) if at),
        parts.button("Show", class_="main", data_no_script=""),
    ]
    if decision.console.allow_writes:
        tools += [
            parts.field("Save as", "name", f"{wanted.base.name}-edited", pattern=_NAME.pattern),
            parts.button("Save this schedule", formaction=f"{PATH}/save", formmethod="post"),
        ]
    tools.append(tag("a", "Start again", href=f"{PATH}?{urlencode({'schedule': wanted.base.name})}",
                     class_="button"))  # fmt: skip
    return tag(
        "form", *steps, tag("div", *tools, class_="pager"), action=PATH, method="get",
        class_="lanes cell", data_follow="figures", aria_label="The schedule",
    )  # fmt: skip


def _choices(decision: Decision, wanted: Wanted, span: tuple[str, str]) -> Markup:
    """Return the form that chooses the schedule to begin with, and the span of time."""
    names = [(name, name) for name in schedule_names(decision.directory)]
    return parts.form(
        PATH,
        parts.choice("Begin with", "schedule", names, wanted.base.name),
        parts.field("Requests from (UTC)", "from", span[0], placeholder="10m, 11:37; the last"),
        parts.field("To", "to", span[1], placeholder="now"),
        parts.button("Open"),
    )


def _step(n: int, step: Step, order: Sequence[str], sla_ms: float) -> Markup:
    if step.until_ms is None:
        slider = tag("span", f"until the SLA, {sla_ms:g} ms", class_="note")
        label = tag("span", f"Step {n} ends")
    else:
        at = min(step.until_ms, sla_ms)
        slider = tag(
            "input", type="range", id=f"until_{n}", name=f"until_{n}", min=f"{_grain(sla_ms):g}",
            max=f"{sla_ms:g}", step=f"{_grain(sla_ms):g}", value=f"{at:g}",
            aria_valuetext=f"{at:g} milliseconds",
        )  # fmt: skip
        label = Markup(
            tag("label", f"Step {n} ends at", for_=f"until_{n}")
            + tag("output", f"{at:g} ms", for_=f"until_{n}")
        )
    items = [_accepted(n, name, is_on=name in step.accept) for name in order]
    need = []
    if step.need != 1 or step.combine != "best":
        need = [tag("span", f"needs {step.need} answers, {step.combine}", class_="note")]
    return tag(
        "div",
        tag("div", label, *need),
        slider,
        tag("ul", *items, class_="accepts", aria_label=f"Accepted in step {n}, preferred first"),
        class_="step",
        role="group",
        aria_label=f"Step {n}",
    )


def _accepted(n: int, name: str, *, is_on: bool) -> Markup:
    shown = "any other (*)" if name == OTHERS else name
    box = tag(
        "input", type="checkbox", name=f"accept_{n}", value=name, checked="" if is_on else None
    )
    return tag(
        "li",
        parts.hidden_field(f"order_{n}", name),
        tag("label", box, shown, class_="check"),
        _mover("up", "←", f"{shown}: prefer it more in step {n}", n, name),
        _mover("down", "→", f"{shown}: prefer it less in step {n}", n, name),
    )


def _mover(what: str, sign: str, label: str, n: int, name: str) -> Markup:
    return parts.button(
        sign, name="move", value=f"{what}:{n}:{name}", class_="small", aria_label=label
    )


def _grain(sla_ms: float) -> float:
    """Return the step of the sliders in ms: about a hundredth of the SLA, a round number."""
    exponent = np.floor(np.log10(sla_ms / 100))
    unit = 10.0**exponent
    return float(next(unit * k for k in (1, 2, 5, 10) if unit * k >= sla_ms / 100 * 0.999))


def save_schedule(site: Site, form: QueryParams) -> str:
    """Write the schedule of the form as a file; return its name.

    Raises WritingOff, InvalidSchedule, EditRefused, DecisionBusy, SystemFaults.
    """
    decision = site.decision()
    if not decision.console.allow_writes:
        raise WritingOff("saving a schedule")
    name = form.get("name", "")
    if not _NAME.fullmatch(name):
        raise InvalidSchedule("the name", "", f"{name!r} is not letters, digits, - and _")
    last = site.latest.get(fresh=False)
    wanted = wanted_of(decision, _models(last), form)
    errors = [one for one in lint(decision, wanted.schedule, list(decision.models)) if
              one.severity == "error"]  # fmt: skip
    if errors:
        raise InvalidSchedule("this schedule", errors[0].key, errors[0].message)
    remark = f"Made on the page from {wanted.base.name}, until {parts.iso(last.until_ns)}"
    add_schedule(site.directory, name, to_toml(wanted.schedule, remark))
    return name
