"""Generate histories of one engine: requests, reports, models that come and go, ticks."""

from __future__ import annotations

from dataclasses import dataclass, field

import msgspec
from hypothesis import strategies as st

from rdv.rendezvous.engine import Engine
from rdv.rendezvous.limits import Limits
from rdv.rendezvous.messages import Request, Result, Score
from rdv.rendezvous.reference import Decision, LivenessChange, Report, decide
from rdv.rendezvous.schedule import Schedule, schedule_from_object

HOST = "here"
BASE_NS = 10**12
MODELS = ("a", "b", "c", "d")
IDS = ("r0", "r1", "r2")

# Half milliseconds up to 80: small enough that events coincide with each other and with step ends.
times_ns = st.integers(0, 160).map(lambda halves: halves * 500_000)


@st.composite
def steps(draw, *, is_last: bool) -> dict:
    accept = draw(st.lists(st.sampled_from([*MODELS, "*"]), min_size=1, max_size=4, unique=True))
    step: dict = {"accept": accept}
    if not is_last or draw(st.booleans()):
        step["until_ms"] = draw(st.integers(1, 60))
    need = draw(st.sampled_from([1, 1, 1, 2, 3, 0.5, 0.6, 1.0, "all"]))
    step["need"] = need
    if need != 1 or isinstance(need, float):
        step["combine"] = draw(st.sampled_from(["best", "mean", "vote"]))
    return step


@st.composite
def schedules(draw) -> Schedule:
    """Draw any valid schedule, also unwise ones: steps that end before their predecessors."""
    count = draw(st.integers(1, 3))
    return schedule_from_object(
        {
            "sla_ms": draw(st.integers(5, 70)),
            "default": "none",
            "input_judges": draw(st.just([]) | st.lists(st.sampled_from(MODELS), unique=True)),
            "step": [draw(steps(is_last=number == count)) for number in range(1, count + 1)],
        },
        "s",
    )


@st.composite
def scores(draw, ids=IDS) -> Score:
    said: dict = draw(
        st.sampled_from(
            [
                {"result": msgspec.Raw(b"1")},
                {"result": msgspec.Raw(b"2.5")},
                {"result": msgspec.Raw(b'"x"')},
                {"refusal": "behind"},
                {"refusal": "not sampled"},
                {"error": "boom"},
                {"refusal": "bad input"},
            ]
        )
    )
    id_, model = draw(st.sampled_from(ids)), draw(st.sampled_from([*MODELS, "e"]))
    return Score(id=id_, model=model, version="1", time_ns=0, **said)


def make_request(id_: str, start_ns: int, **said) -> Request:
    said = {"host": HOST, "monotonic_ns": start_ns, **said}
    return Request(id=id_, time_ns=0, reply_to="p", data=msgspec.Raw(b"{}"), **said)


@dataclass(frozen=True)
class Change:
    """A model comes up or goes down, for all requests."""

    model: str
    is_up: bool


class Tick:
    """Let time pass."""

    def __repr__(self) -> str:
        return "Tick()"


Event = Request | Score | Change | Tick


@dataclass
class Story:
    """Hold events by time; every request comes once."""

    schedule: Schedule
    live: list[str]
    events: list[tuple[int, Event]]
    results: dict[str, Result] = field(default_factory=dict)
    answered_at_ns: dict[str, int] = field(default_factory=dict)

    def play(self, *, prompt: bool, limits: Limits | None = None) -> Engine:
        """Feed an engine. With `prompt`, tick it at every next_deadline, as a good server does."""
        engine = Engine(HOST, {"s": self.schedule}, "s", self.live, limits)
        for now_ns, event in [*self.events, (BASE_NS + 10**9, Tick())]:
            while prompt and (due := engine.next_deadline()) is not None and due <= now_ns:
                self._note(engine.tick(due), due)
            self._note(self._feed(engine, event, now_ns), now_ns)
        assert engine.open_count == 0
        assert engine.next_deadline() is None
        return engine

    @staticmethod
    def _feed(engine: Engine, event: Event, now_ns: int) -> list[Result]:
        match event:
            case Request():
                return engine.request(event, now_ns)
            case Score():
                return engine.score(event, now_ns)
            case Change(model, True):
                return engine.model_up(model, now_ns)
            case Change(model, False):
                return engine.model_down(model, now_ns)
            case _:
                return engine.tick(now_ns)

    def _note(self, results: list[Result], now_ns: int) -> None:
        for result in results:
            assert result.id not in self.results, "answered twice"
            self.results[result.id] = result
            self.answered_at_ns[result.id] = now_ns

    def start_ns(self, request: Request, seen_ns: int) -> int:
        return min(request.monotonic_ns, seen_ns) if request.host == HOST else seen_ns

    def requests(self) -> list[tuple[int, int, Request]]:
        """Return (position, time seen, request) of each request."""
        return [
            (position, now_ns, event)
            for position, (now_ns, event) in enumerate(self.events)
            if isinstance(event, Request)
        ]

    def expected(self, position: int, seen_ns: int, request: Request) -> Decision:
        """Return the reference's decision on one request."""
        start_ns = self.start_ns(request, seen_ns)
        live, dead, history = set(self.live), set(), []
        for name in request.not_asked:  # as if they had refused before anything else
            refusal = Score(request.id, name, "", 0, refusal="not sampled")
            history.append(Report(-(2**62), refusal))
        for place, (now_ns, event) in enumerate(self.events):
            if isinstance(event, Score) and event.id == request.id:
                history.append(Report(now_ns - start_ns, event))
            elif isinstance(event, Change) and place < position:
                (live if event.is_up else dead).add(event.model)
                (dead if event.is_up else live).discard(event.model)
            elif isinstance(event, Change):
                history.append(LivenessChange(now_ns - start_ns, event.model, event.is_up))
        return decide(
            self.schedule,
            history,
            live=live,
            dead=dead,
            deadline_ms=request.deadline_ms,
            seen_ns=seen_ns - start_ns,
            left_out=request.not_asked if request.names_models else (),
        )


@st.composite
def stories(draw) -> Story:
    timed: list[tuple[int, Event]] = []
    for id_ in IDS[: draw(st.integers(1, len(IDS)))]:
        seen_ns = BASE_NS + draw(times_ns)
        start_ns = seen_ns - draw(st.just(0) | times_ns)
        host = draw(st.sampled_from([HOST, HOST, HOST, "elsewhere"]))
        deadline_ms = draw(st.none() | st.none() | st.integers(0, 80).map(float))
        left_out = draw(st.just([]) | st.lists(st.sampled_from(MODELS), unique=True, max_size=3))
        said = {"host": host, "deadline_ms": deadline_ms, "not_asked": left_out}
        said["names_models"] = bool(left_out) and draw(st.booleans())
        timed.append((seen_ns, make_request(id_, start_ns, **said)))
    other = scores() | st.builds(Change, st.sampled_from(MODELS), st.booleans()) | st.builds(Tick)
    several = st.lists(st.tuples(times_ns, scores() | other), max_size=12)
    mixed = [(BASE_NS + at_ns, event) for at_ns, event in draw(several)]
    # which comes first at equal times
    timed = mixed + timed if draw(st.booleans()) else timed + mixed
    events = sorted(timed, key=lambda item: item[0])
    live = draw(st.lists(st.sampled_from(MODELS), unique=True))
    return Story(draw(schedules()), live, events)
