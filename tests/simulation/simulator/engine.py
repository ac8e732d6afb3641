"""Watch the product's engine: record every input with its time, to check each decision."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from rdv.rendezvous.engine import Engine
from rdv.rendezvous.limits import Limits
from rdv.rendezvous.messages import Request, Result, Score
from rdv.rendezvous.reference import LivenessChange, Report
from rdv.rendezvous.schedule import InvalidSchedule, Schedule, schedule_from_object

BEFORE_NS = -1
"""The time of the start: models that are not asked have refused by then."""


class Case:
    """Hold all that the engine knew of one request. Times are on the engine's clock."""

    __slots__ = (
        "dead", "decided_ns", "history", "is_overloaded", "is_rebuilt", "is_unknown", "live",
        "process", "request", "result", "schedule", "seen_ns", "seen_true_ns", "start_ns",
        "told_true_ns",
    )  # fmt: skip


class WatchedEngine(Engine):
    """Record the engine's calls and results without changing them."""

    def __init__(
        self,
        world,
        process,
        host: str,
        schedules: Mapping[str, Schedule],
        live: str,
        models: Iterable[str],
        limits: Limits,
    ) -> None:
        super().__init__(host, schedules, live, models, limits)
        self._world = world
        self._process = process
        self._sim_host = host
        self._schedules, self._live_name = dict(schedules), live
        self._seen_live, self._seen_dead = set(models), set()
        self._cases: dict[str, Case] = {}
        self._known: set[str] = set()
        self._early_seen: dict[str, list[tuple[int, Score]]] = {}
        self.is_rebuilding = True

    def request(self, request: Request, now_ns: int) -> list[Result]:
        if request.id in self._known:
            results = super().request(request, now_ns)
            self._world.oracle.expect(not results, "decided once", "%s again", request.id)
            return results
        self._known.add(request.id)
        self._cases[request.id] = self._case(request, now_ns)
        return self._told(super().request(request, now_ns))

    def _case(self, request: Request, now_ns: int) -> Case:
        case = Case()
        case.request = request
        case.process = self._process
        case.seen_ns = now_ns
        case.seen_true_ns = self._world.scheduler.now_ns
        is_ours = request.host == self._sim_host
        case.start_ns = min(request.monotonic_ns, now_ns) if is_ours else now_ns
        case.schedule, case.is_unknown = self._chosen(request.schedule)
        case.is_overloaded = len(self._cases) >= self.limits.open_mailboxes_max
        case.is_rebuilt = self.is_rebuilding
        case.live, case.dead = set(self._seen_live), set(self._seen_dead)
        early = self._early_seen.pop(request.id, ())
        left_out = [
            Score(request.id, name, "", 0, refusal="not sampled") for name in request.not_asked
        ]
        case.history = [Report(BEFORE_NS, score) for score in left_out]
        case.history += [Report(at_ns - case.start_ns, score) for at_ns, score in early]
        case.result = None
        self._world.oracle.seen(case, self._seen_live)
        return case

    def _chosen(self, wanted: object) -> tuple[Schedule, bool]:
        live = self._schedules[self._live_name]
        if wanted is None:
            return live, False
        if isinstance(wanted, str):
            return self._schedules.get(wanted, live), wanted not in self._schedules
        try:
            return schedule_from_object(wanted), False
        except InvalidSchedule:
            return live, True

    def score(self, score: Score, now_ns: int) -> list[Result]:
        self._world.oracle.delivered(score, self._process)
        case = self._cases.get(score.id)
        if case is not None:
            case.history.append(Report(now_ns - case.start_ns, score))
        elif score.id not in self._known:
            self._early_seen.setdefault(score.id, []).append((now_ns, score))
        return self._told(super().score(score, now_ns))

    def tick(self, now_ns: int) -> list[Result]:
        return self._told(super().tick(now_ns))

    def model_up(self, name: str, now_ns: int) -> list[Result]:
        self._world.oracle.taken_for_alive(name, self._process)
        self._changes(name, now_ns, is_up=True)
        return self._told(super().model_up(name, now_ns))

    def model_down(self, name: str, now_ns: int) -> list[Result]:
        self._world.oracle.taken_for_dead(name, self._process)
        self._changes(name, now_ns, is_up=False)
        return self._told(super().model_down(name, now_ns))

    def _changes(self, name: str, now_ns: int, *, is_up: bool) -> None:
        (self._seen_live if is_up else self._seen_dead).add(name)
        (self._seen_dead if is_up else self._seen_live).discard(name)
        for case in self._cases.values():
            case.history.append(LivenessChange(now_ns - case.start_ns, name, is_up))

    def schedules_changed(self, schedules: Mapping[str, Schedule], live: str) -> None:
        super().schedules_changed(schedules, live)
        self._schedules, self._live_name = dict(schedules), live

    def already_answered(self, id_: str, now_ns: int) -> None:
        self._known.add(id_)
        self._cases.pop(id_, None)
        self._world.oracle.given_up(id_, self._process)
        super().already_answered(id_, now_ns)

    def _told(self, results: list[Result]) -> list[Result]:
        for result in results:
            case = self._cases.pop(result.id, None)
            if case is None:
                # `tick` is called from within other calls, which have reported this result already.
                continue
            case.result = result
            case.told_true_ns = self._world.scheduler.now_ns
            self._world.oracle.decided(case)
        oracle, limit = self._world.oracle, self.limits.open_mailboxes_max
        oracle.expect(self.open_count <= limit, "bounds", "%s mailboxes open", self.open_count)
        return results
