"""The race: the schedule as lanes, the arrivals of each model on it, and who wins; live."""

from __future__ import annotations

import threading
from collections import Counter, deque
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from rdv.analysis.charts import Figure, Report, number, share
from rdv.analysis.charts.chart import FloatArray
from rdv.analysis.charts.kinds import kinds_mix
from rdv.analysis.charts.lanes import Dot
from rdv.analysis.charts.markup import Markup, tag
from rdv.analysis.dataset.joined import KINDS, NO_RESULT, RESULT, Joined
from rdv.analysis.whatif.lanes import models_of, schedule_lanes
from rdv.console.console import Console
from rdv.decision.schedules import read_schedule
from rdv.live import Update
from rdv.rendezvous.schedule import Schedule

KEPT_S = 30
ROWS_MAX = 500
"""The maximum number of requests of one reading that are kept: the newest."""
READINGS_MAX = 40
DOTS = 40
RIDGE_PARTS = 60


@dataclass(frozen=True)
class Heat:
    """Requests of one reading: when which model answered them, and who won."""

    time_ns: int
    models: tuple[str, ...]
    arrival_us: npt.NDArray[np.int32]
    """(m, n)."""
    is_answer: npt.NDArray[np.bool_]
    """(m, n)."""
    winners: tuple[str | None, ...]
    kinds: tuple[str, ...]


def heat_of(joined: Joined) -> Heat:
    """Return the newest requests of a join, without anything that holds its memory."""
    rows = np.flatnonzero(joined.kind != NO_RESULT)[-ROWS_MAX:]
    return Heat(
        int(joined.append_ns.max()) if len(joined) else 0,
        joined.models,
        joined.arrival_us[:, rows].copy(),
        (joined.outcome == RESULT)[:, rows],
        tuple(joined.model.at(row) for row in rows.tolist()),
        tuple(str(KINDS[code]) for code in joined.kind[rows].tolist()),
    )


class Race:
    """Keeps the arrivals of the last seconds, as the console reads them. Thread-safe."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._lock = threading.Lock()
        self._heats: deque[Heat] = deque(maxlen=READINGS_MAX)
        console.listeners.append(self.hear)

    def hear(self, update: Update) -> None:
        """Keep what a reading has found."""
        if update.joined is None or not len(update.joined):
            return
        heat = heat_of(update.joined)
        with self._lock:
            self._heats.append(heat)
            while self._heats[0].time_ns < heat.time_ns - KEPT_S * 10**9:
                self._heats.popleft()

    def heats(self) -> list[Heat]:
        with self._lock:
            return list(self._heats)


def race_report(console: Console, race: Race) -> Report:
    """Return the view. Raises InvalidSchedule, ScheduleNotFound."""
    report = Report("The race", f"Answers of the last {KEPT_S} seconds on the live schedule")
    report.add(tag("div", race_part(console, race), id="race", class_="parts",
                   data_live="/race/events"))  # fmt: skip
    return report


def race_part(console: Console, race: Race) -> Markup:
    """Return the part that is updated. Raises InvalidSchedule, ScheduleNotFound."""
    schedule = read_schedule(console.decision)
    heats = race.heats()
    report = Report("")
    known = list(dict.fromkeys([*console.decision.scoring_models(), *_models(heats)]))
    names = models_of(schedule, known)
    if not heats:
        report.verdict("No request was answered lately.", "neutral")
    ridges = {name: ridge for name in names if (ridge := _ridge(heats, name, schedule)) is not None}
    report.chart(
        schedule_lanes(
            f"Schedule {schedule.name}",
            schedule,
            known,
            dots=_dots(heats[-1], names) if heats else {},
            ridges=ridges,
            note="A hill: how many answers of the model came when. Dots: the newest requests; a "
            "ring: the answer that was given. A bar: the model is accepted, a darker one: it is "
            "preferred.",
        )
    )
    if heats:
        kinds = Counter(kind for heat in heats for kind in heat.kinds)
        report.chart(kinds_mix({"now": kinds}))
        report.table(*_winners(heats, names), "Who wins")
    return report.summary()


def _models(heats: list[Heat]) -> list[str]:
    return list(dict.fromkeys(name for heat in heats for name in heat.models))


def _arrivals(heats: list[Heat], model: str) -> npt.NDArray[np.int32]:
    """Return when the model's answers came, in µs."""
    found = [
        heat.arrival_us[at][heat.is_answer[at]]
        for heat in heats
        if model in heat.models
        for at in [heat.models.index(model)]
    ]
    return np.concatenate(found) if found else np.empty(0, np.int32)


def _ridge(heats: list[Heat], model: str, schedule: Schedule) -> FloatArray | None:
    came = _arrivals(heats, model)
    if not len(came):
        return None
    counts, _ = np.histogram(came, RIDGE_PARTS, (0, schedule.sla_ms * 1000))
    found: FloatArray = counts / len(came)
    return found


def _dots(heat: Heat, names: list[str]) -> dict[str, list[Dot]]:
    """Return a dot for each model's answer to the newest requests."""
    dots: dict[str, list[Dot]] = {name: [] for name in names}
    count = len(heat.winners)
    for row in range(max(0, count - DOTS), count):
        won = set((heat.winners[row] or "").split("+"))
        for at, name in enumerate(heat.models):
            if heat.is_answer[at, row] and name in dots:
                at_ms = float(heat.arrival_us[at, row]) / 1000
                dots[name].append(Dot(at_ms, is_chosen=name in won))
    return dots


def _winners(heats: list[Heat], names: list[str]) -> tuple[list[str], list[list[object]]]:
    wins = Counter(winner for heat in heats for winner in heat.winners)
    total = max(1, wins.total())
    rows: list[list[object]] = []
    for name in [*names, *(one for one in wins if one and one not in names), None]:
        came = _arrivals(heats, name) / 1000 if name else np.empty(0)
        p50, p99 = np.quantile(came, [0.5, 0.99]) if len(came) else (None, None)
        rows.append(
            [
                name or "default",
                share(wins[name] / total),
                Figure("–" if p50 is None else number(float(p50))),
                Figure("–" if p99 is None else number(float(p99))),
            ]
        )
    return ["model", "wins", "p50 (ms)", "p99 (ms)"], rows
