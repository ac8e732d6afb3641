"""Search for a schedule: learn on the earlier half of the requests, report on the later half.

The candidates: all models from the start, by rank; or the first alone until t1, then all; or the
first alone until t1, the first two until t2, then all; in every order of the models. If 99 % have
to be answered before the SLA, each of them also exists with an earlier end.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import replace
from itertools import combinations, permutations

import msgspec
import numpy as np
import numpy.typing as npt

from rdv.analysis.dataset.places import Recorded
from rdv.analysis.errors import NothingToSearch
from rdv.analysis.measure.waits import wait_quantile
from rdv.analysis.optimise.cells import (
    MODELS_MAX,
    Columns,
    Study,
    Tried,
    arrivals_us,
    make_cells,
    read_columns,
    weighted_quantile,
)
from rdv.analysis.optimise.measured import default_share, right_of
from rdv.analysis.optimise.price import price_curve
from rdv.analysis.optimise.result import Optimum, Point, why_keep_live
from rdv.analysis.whatif.decide import NO_MODEL, decide_all
from rdv.decision.outcome import INFERRED, Outcome
from rdv.decision.text import toml_value
from rdv.decision.value import UNDECLARED, Value
from rdv.rendezvous.schedule import OTHERS, Schedule, Step, schedule_from_object
from rdv.rendezvous.schedule.model import content

GRID_MAX, GRID_MIN = 32, 4
REQUESTS_MIN = 200
TRIES = 2_000
EXACT_MAX = 40
"""The maximum number of the best candidates that are decided request by request."""
POINTS_MAX = 8
"""The maximum number of points of the frontier that are shown."""
P99 = 0.99


def grid_ms(
    answers_us: npt.NDArray[np.int64], sla_ms: float, models: int, tries: int
) -> list[float]:
    """Return times at which steps may end, to 0.1 ms, as many as make about `tries` candidates.

    Half of them are quantiles of the answers' arrivals, half are spread evenly in time.
    """
    orders = math.factorial(models)
    count = GRID_MIN
    while count < GRID_MAX and orders * (1 + (count + 1) + (count + 1) * count // 2) <= tries:
        count += 1
    within = answers_us[answers_us < sla_ms * 1000]
    if not len(within):
        return []
    # Half of them are evenly spaced in time, half are evenly spaced in answers.
    shares = np.linspace(0.02, 0.98, count - count // 2)
    low, high = np.quantile(within, [0.02, 0.99])
    times = [*np.quantile(within, shares), *np.linspace(low, high, count // 2)]
    ends = sorted({round(float(time) / 1000, 1) for time in times})
    return [end for end in ends if 0 < end < sla_ms]


def candidates(
    models: Sequence[str],
    ends_ms: Sequence[float],
    live: Schedule,
    *,
    any_model: bool,
    give_up_ms: float | None = None,
) -> Iterator[Schedule]:
    """Yield all schedules of the family. `any_model`: the last step accepts any model ("*").

    `give_up_ms`: each schedule also with a last step that ends then, when the default is given.
    """
    for last_ms in (None, give_up_ms) if give_up_ms is not None else (None,):
        ends = [end for end in ends_ms if last_ms is None or end < last_ms]
        for order in permutations(models):
            rest = Step([*order, OTHERS] if any_model else list(order), last_ms)
            for steps in _beginnings(order, ends):
                yield _schedule(live, [*steps, rest])


def _beginnings(order: Sequence[str], ends_ms: Sequence[float]) -> Iterator[list[Step]]:
    """Yield the steps before the last one."""
    yield []
    for first in ends_ms:
        yield [Step([order[0]], first)]
    if len(order) > 2:  # noqa: PLR2004  with two, the middle step is the last one
        for first, second in combinations(ends_ms, 2):
            yield [Step([order[0]], first), Step(list(order[:2]), second)]


def _schedule(live: Schedule, steps: list[Step]) -> Schedule:
    return msgspec.structs.replace(live, steps=steps, name="candidate", content_hash="")


def to_toml(schedule: Schedule, remark: str) -> str:
    """Return the text of a schedule file; `remark` may have several lines."""
    lines = [f"# {line}".rstrip() for line in remark.splitlines()]
    lines.append(f"sla_ms = {schedule.sla_ms:g}")
    if schedule.default is not None:
        lines.append(f"default = {toml_value(schedule.default)}")
    if schedule.input_judges:
        lines.append(f"input_judges = {toml_value(schedule.input_judges)}")
    for step in content(schedule)["step"]:
        lines += ["", "[[step]]", *(f"{key} = {toml_value(value)}" for key, value in step.items())]
    return "\n".join(lines) + "\n"


def named(schedule: Schedule, name: str) -> Schedule:
    """Return the same schedule under this name, checked, with its hash."""
    return schedule_from_object(content(schedule), name)


def optimise(
    recorded: Recorded,
    live: Schedule,
    since_ns: int | None = None,
    until_ns: int | None = None,
    *,
    p99_ms_max: float | None = None,
    need_outcomes: bool = False,
    outcome: Outcome = INFERRED,
    on: str | None = None,
    metric: str = "",
    value: Value = UNDECLARED,
    tries: int = TRIES,
    without: Collection[str] = (),
    progress: Callable[[int], None] = lambda _: None,
) -> Optimum:
    """Search for schedules with the SLA and the default of `live`.

    `without` are models that must not be used any more, such as retired ones. `outcome` and `value`
    are sections of rdv.toml, `metric` is what answers are measured by; with one, outcomes are
    needed. Without `p99_ms_max` the choice is the best schedule that is no slower than `live`, on
    both halves. Raises NothingToSearch, NothingRecorded, TooManyValues, UnknownMetric,
    InvalidMetric, and the log's SystemFaults.
    """
    span = since_ns, until_ns
    study = read_columns(
        recorded,
        live,
        span,
        outcome=outcome,
        on=on,
        need_outcomes=need_outcomes,
        metric=metric,
        value=value,
        progress=progress,
    )
    if len(study.columns) < REQUESTS_MIN:
        reason = f"{len(study.columns)} usual requests are fewer than {REQUESTS_MIN}"
        raise NothingToSearch(recorded.directory, reason)
    is_unmeasured = bool(np.isnan(study.columns.right[-1]).all())
    need_outcomes = need_outcomes or bool(metric)
    if is_unmeasured or (need_outcomes and study.problem):
        reason = study.problem if need_outcomes else ""
        raise NothingToSearch(recorded.directory, reason or "answers cannot be compared")
    live_answers = right_of(decide_all(live, study.columns.arrivals), study.columns)
    if problem := study.scorer.problem(live_answers, study.columns):
        reason = f"{study.metric.name} of the live schedule has no value: {problem}"
        raise NothingToSearch(recorded.directory, reason)
    return search(study, live, p99_ms_max, tries, without=without, progress=progress)


def search(
    study: Study,
    live: Schedule,
    p99_ms_max: float | None,
    tries: int,
    *,
    without: Collection[str] = (),
    progress: Callable[[int], None] = lambda _: None,
) -> Optimum:
    """Search as `optimise` does, over columns that have been read."""
    models = _best_models(study.columns, without)
    columns = _only(study.columns, models)
    half = len(columns) // 2 if study.problem else _middle(columns)
    early, late = columns.take(slice(0, half)), columns.take(slice(half, None))
    answers_us = arrivals_us(early.arrivals)[early.arrivals.is_answer]
    give_up_ms = p99_ms_max if p99_ms_max is not None and p99_ms_max < live.sla_ms else None
    variants = 1 if give_up_ms is None else 2
    ends_ms = grid_ms(answers_us, live.sla_ms, len(models), tries // variants)
    every_ms = {*ends_ms, live.sla_ms, give_up_ms or live.sla_ms}
    edges_us = np.array(sorted(round(end * 1000) for end in every_ms), np.int64)
    cells = make_cells(early, edges_us)
    any_model = len(models) == len(study.columns.arrivals.models)
    tried = []
    for schedule in candidates(models, ends_ms, live, any_model=any_model, give_up_ms=give_up_ms):
        tried.append(cells.try_out(schedule))
        progress(1)
    live_early = _exact(live, study.columns.take(slice(0, half)), study)
    useful = [one for one in tried if not one.is_idle] or tried
    exact = [_exact(one.schedule, early, study) for one in _promising(useful, p99_ms_max)]
    exact = [one for one in exact if one.score > -math.inf] or [live_early]
    base = study.columns.take(slice(half, None))
    live_right = right_of(decide_all(live, base.arrivals), base)
    live_point = _point(live_early, base, live_right, study)
    limits_ms = (live_early.p99_ms, live_point.p99_ms.estimate)
    if p99_ms_max is not None:
        limits_ms = (p99_ms_max, p99_ms_max)
    front = _thinned(_frontier(exact))
    chosen = _chosen(exact, late, limits_ms, study)
    points = {
        id(one): _point(one, late, live_right, study) for one in (*front, *filter(None, [chosen]))
    }
    choice = None if chosen is None else points[id(chosen)]
    keeps_live = ""
    if live_early.p99_ms <= limits_ms[0] and live_point.p99_ms.estimate <= limits_ms[1]:
        is_as_good = chosen is not None and chosen.score >= live_early.score
        keeps_live = why_keep_live(choice if is_as_good else None)
    return Optimum(
        study.measure,
        study.champion,
        half,
        len(late),
        int((~np.isnan(late.right[-1])).sum()),
        len(tried),
        len(cells),
        live_point,
        [points[id(one)] for one in front],
        None if keeps_live else choice,
        p99_ms_max,
        _remarks(study, models),
        study.metric,
        study.unit,
        study.per_day,
        price_curve(study, live),
        keeps_live,
    )


def _chosen(
    exact: Sequence[Tried], late: Columns, limits_ms: tuple[float, float], study: Study
) -> Tried | None:
    """Return the best schedule that is quick enough on both halves; None if there is none.

    Its score is that of the earlier half; of the later half only the waits are looked at.
    """
    early_ms, late_ms = limits_ms
    for one in sorted(exact, key=lambda one: (-one.score, one.p99_ms)):
        if one.p99_ms <= early_ms and _exact(one.schedule, late, study).p99_ms <= late_ms:
            return one
    return None


def _middle(columns: Columns) -> int:
    """Return the row that halves the requests with a known outcome: labels come late."""
    known = np.flatnonzero(~np.isnan(columns.right[-1]))
    return int(known[len(known) // 2])


def _exact(schedule: Schedule, columns: Columns, study: Study) -> Tried:
    decided = decide_all(schedule, columns.arrivals)
    p99_us = weighted_quantile(decided.at_us, np.ones(len(columns), np.int64), P99)
    score = study.scorer.value(right_of(decided, columns), columns)
    default = float((decided.model == NO_MODEL).mean())
    return Tried(schedule, score, p99_us / 1000, default)


def _point(
    tried: Tried, columns: Columns, live_right: npt.NDArray[np.float64], study: Study
) -> Point:
    """Return the figures on the later half, compared with the live schedule's answers."""
    decided = decide_all(tried.schedule, columns.arrivals)
    right = right_of(decided, columns)
    names = [*columns.arrivals.models, "default"]
    shares = np.bincount(decided.model.astype(np.int64) % len(names), minlength=len(names))
    return Point(
        tried.schedule,
        study.scorer.score(right, columns),
        wait_quantile(decided.at_us / 1000, P99, columns.keys),
        study.scorer.gain(right, live_right, columns),
        float((decided.model == NO_MODEL).mean()),
        tried.score if study.metric.higher_is_better else -tried.score,
        tried.p99_ms,
        {n: float(s) / len(decided) for n, s in zip(names, shares, strict=True) if s},
        default_share(decided, columns.keys),
    )


def _best_models(columns: Columns, without: Collection[str]) -> list[str]:
    """Return the models that answer at all, at most MODELS_MAX: those that are right most often."""
    models = columns.arrivals.models
    known = ~np.isnan(columns.right[-1])
    worth = {}
    for number, model in enumerate(models):
        answered = columns.arrivals.is_answer[number]
        right = columns.right[number][known & answered]
        if answered.any() and model not in without and not np.isnan(right).all():
            # What it would win over the default, so that a metric of losses counts alike.
            worth[model] = float(np.nansum(right - columns.right[-1][known & answered]))
    return sorted(worth, key=lambda model: -worth[model])[:MODELS_MAX]


def _only(columns: Columns, models: Sequence[str]) -> Columns:
    """Return the columns of these models, in this order."""
    arrivals = columns.arrivals
    rows = [arrivals.models.index(model) for model in models]
    chosen = replace(
        arrivals,
        models=tuple(models),
        key=arrivals.key[rows],
        is_answer=arrivals.is_answer[rows],
        is_live=arrivals.is_live[rows],
        is_dead=arrivals.is_dead[rows],
    )
    points = None if columns.points is None else columns.points[[*rows, -1]]
    right = columns.right[[*rows, -1]]
    return Columns(chosen, right, columns.keys, points, columns.truths)


def _promising(tried: list[Tried], p99_ms_max: float | None) -> list[Tried]:
    """Return the frontier over cells, and the best below the limit, for exact evaluation."""
    front = _frontier(tried)
    step = max(1, len(front) // (EXACT_MAX // 2))
    some = [*front[::step], front[-1]]
    # Waits in cells are averages: one slightly above the limit may really be below it.
    near = [one for one in tried if p99_ms_max is None or one.p99_ms <= p99_ms_max * 1.02]
    near.sort(key=lambda one: -one.score)
    return list({id(one): one for one in [*some, *near[: EXACT_MAX // 2]]}.values())


def _frontier(tried: Sequence[Tried]) -> list[Tried]:
    """Return the frontier by p99: each point is better than all that are quicker."""
    front: list[Tried] = []
    for one in sorted(tried, key=lambda one: (one.p99_ms, -one.score)):
        if not front or one.score > front[-1].score:
            front.append(one)
    return front


def _thinned(front: list[Tried]) -> list[Tried]:
    """Return at most POINTS_MAX points that differ in score, with the quickest and the best."""
    if len(front) <= POINTS_MAX:
        return front
    step = (front[-1].score - front[0].score) / (POINTS_MAX - 1)
    kept = [front[0]]
    for one in front[1:-1]:
        if one.score >= kept[-1].score + step:
            kept.append(one)
    return [*kept[: POINTS_MAX - 1], front[-1]]


def _remarks(study: Study, models: list[str]) -> list[str]:
    found = []
    if study.problem:
        champion = study.champion or "no model"
        found.append(f"{study.problem}: the score is the agreement with {champion}")
    else:
        found.append(study.reading)
    if study.left_out:
        found.append(
            f"{study.left_out:,} requests are left out: they had asked for another schedule, had "
            "a limit of their own, or were ended by a judge of the input"
        )
    if study.thinned > 1:
        found.append(f"only every {study.thinned}th request is used")
    if study.lacking:
        found.append(
            f"{', '.join(study.lacking)} never answers with what is measured: no candidate, and "
            "its answers are unknown"
        )
    if study.unmeasured:
        found.append(
            f"{study.unmeasured:,} requests with a known outcome are left out: an answer to them "
            f"has no value of {study.metric.name}"
        )
    if study.scorer.guide:
        found.append(
            f"{study.metric.name} is no mean over requests: candidates were ranked by a mean that "
            f"stands for it ({study.scorer.guide}); at most {EXACT_MAX} of them were measured by "
            f"{study.metric.name} itself, as all that is shown"
        )
    more = set(study.columns.arrivals.models) - set(models)
    if more:
        found.append(f"not among the candidates: {', '.join(sorted(more))}")
    return found + study.notes.lines()
