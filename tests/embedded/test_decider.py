"""Hold `rdv.local` against the server's engine, and against the plain rule, in made-up time."""

from __future__ import annotations

from histories import BASE_NS, HOST, MODELS, make_request, schedules
from hypothesis import given, settings
from hypothesis import strategies as st

from rdv.embedded.decider import Decider, order_of
from rdv.models.model import ModelError
from rdv.rendezvous.engine import Engine
from rdv.rendezvous.messages import Score
from rdv.rendezvous.reference import Report, decide
from rdv.rendezvous.schedule import OTHERS

OUTCOMES = (b"1", b"2.5", b'"x"', ModelError("boom"), None)


class Clock:
    def __init__(self) -> None:
        self.now_ns = BASE_NS

    def __call__(self) -> int:
        return self.now_ns


class Scripted:
    """A model that takes so long, in made-up time, and reports this; it notes its arrivals."""

    version = "1"

    def __init__(self, name, clock, took_ns, outcome, arrivals) -> None:
        self.name, self._clock, self._took_ns, self._outcome = name, clock, took_ns, outcome
        self._arrivals = arrivals

    def call(self, request, until_ns):
        self._clock.now_ns += self._took_ns
        self._arrivals.append((self.name, self._clock.now_ns, self._outcome))
        return self._outcome

    def close(self) -> None:
        pass


@st.composite
def settings_of(draw):
    names = draw(st.lists(st.sampled_from([*MODELS, "e"]), unique=True, max_size=5))
    took_ns = st.integers(0, 60).map(lambda halves: halves * 500_000)
    models = {name: (draw(took_ns), draw(st.sampled_from(OUTCOMES))) for name in names}
    asked = {"deadline_ms": draw(st.sampled_from([None, None, 1.0, 20.0, 500.0]))}
    asked["not_asked"] = draw(
        st.lists(st.sampled_from(names), unique=True) if names else st.just([])
    )
    return draw(schedules()), models, asked, draw(st.booleans())


def prompt(engine: Engine, request, reports):
    """Return the result of a server that is never late: it ticks at each deadline."""
    found = list(engine.request(request, BASE_NS))
    for at_ns, score in [*reports, (BASE_NS + 10**9, None)]:
        while (due_ns := engine.next_deadline()) is not None and due_ns <= at_ns:
            found += engine.tick(due_ns)
        if score is not None:
            found += engine.score(score, at_ns)
    assert len(found) == 1
    return found[0]


@given(settings_of())
@settings(derandomize=True, deadline=None, max_examples=200)
def test_the_same_arrivals_give_the_same_answer_as_the_server(case):
    schedule, models, asked, all_models = case
    clock, arrivals = Clock(), []
    callers = {n: Scripted(n, clock, *model, arrivals) for n, model in models.items()}
    local = Decider(HOST, {"s": schedule}, "s", callers, clock)
    request = make_request("r0", BASE_NS, **asked)
    decided = local.decide(request, schedule, all_models=all_models)

    assert len({name for name, _, _ in arrivals}) == len(arrivals)
    times = {name: at_ns for name, at_ns, _ in arrivals}
    reports = [(times[score.model], score) for score in decided.scores]
    server = Engine(HOST, {"s": schedule}, "s", models)
    absent = {n for step in schedule.steps for n in step.accept} - models.keys() - {OTHERS}
    for name in sorted(absent):
        server.model_down(name, BASE_NS)
    # Of a model that was called and reported nothing the server waits for the end of the step.
    silent = {name for name, _, outcome in arrivals if outcome is None}
    result = prompt(server, request, reports)
    known = decided.result
    same = ("id", "kind", "result", "model", "version", "step", "schedule", "cohort")
    for name in same:
        one, other = getattr(known, name), getattr(result, name)
        if name == "result":
            one, other = bytes(one), bytes(other)
        assert one == other, name
    assert (known.code, known.reason) == (result.code, result.reason) or silent
    assert [a.model for a in known.arrived] == [a.model for a in result.arrived]

    history = [Report(at_ns - BASE_NS, score) for at_ns, score in reports]
    refused = [
        Report(0, Score("r0", name, "", 0, refusal="not sampled")) for name in request.not_asked
    ]
    wanted = decide(
        schedule, [*refused, *history], live=models.keys() - absent, dead=absent,
        deadline_ms=request.deadline_ms,
    )  # fmt: skip
    assert (known.kind, bytes(known.result), known.step) == (
        wanted.kind,
        wanted.result,
        wanted.step,
    )


@given(settings_of())
@settings(derandomize=True, deadline=None, max_examples=100)
def test_a_model_that_is_not_called_could_not_have_changed_the_answer(case):
    """Where models take no time, calling all of them decides as calling only some does."""
    schedule, models, asked, _ = case
    decisions = []
    for all_models in (False, True):
        clock, arrivals = Clock(), []
        callers = {
            name: Scripted(name, clock, 0, outcome, arrivals)
            for name, (_, outcome) in models.items()
        }
        local = Decider(HOST, {"s": schedule}, "s", callers, clock)
        request = make_request("r0", BASE_NS, **asked)
        result = local.decide(request, schedule, all_models=all_models).result
        decisions.append((result.kind, bytes(result.result), result.model, result.step))
        if all_models:
            assert {name for name, _, _ in arrivals} == models.keys() - set(request.not_asked)
    assert decisions[0] == decisions[1]


@given(schedules(), st.permutations([*MODELS, "e"]))
@settings(derandomize=True, deadline=None, max_examples=50)
def test_models_are_called_in_the_order_of_the_schedule(schedule, models):
    order = order_of(schedule, models)
    assert sorted(order) == sorted(models)
    first = [name for name in schedule.steps[0].accept if name != OTHERS]
    if schedule.steps[0].accept[0] != OTHERS:
        assert order[0] == first[0]


@given(settings_of())
@settings(derandomize=True, deadline=None, max_examples=20)
def test_no_answered_request_is_kept(case):
    schedule, models, asked, all_models = case
    clock = Clock()
    callers = {n: Scripted(n, clock, *model, []) for n, model in models.items()}
    local = Decider(HOST, {"s": schedule}, "s", callers, clock)
    for number in range(5):
        request = make_request(f"r{number}", clock.now_ns, **asked)
        local.decide(request, schedule, all_models=all_models)
        assert not len(local._engine._due_queue)
