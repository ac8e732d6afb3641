"""Check that the engine decides as the plain reference does, whatever happens and when."""

from __future__ import annotations

import msgspec
from histories import BASE_NS, Change, Story, make_request, stories
from hypothesis import given, settings

from rdv.codes import RESULT_CODES
from rdv.rendezvous.messages import Score, result_code
from rdv.rendezvous.schedule import Schedule, Step


def told(story: Story, id_: str) -> tuple:
    result = story.results[id_]
    models = tuple(result.model.split("+")) if result.model else ()
    arrived = tuple(arrival.model for arrival in result.arrived)
    return result.kind, models, bytes(result.result), result.step, arrived


@given(stories())
@settings(derandomize=True, deadline=None, max_examples=150)
def test_engine_equals_reference(story: Story) -> None:
    """Decisions do not depend on ticks: those of the story (late, seldom, never) or one at each
    deadline. With the latter, each result comes at its instant, and never after the deadline.

    See DESIGN 2 (5) and (1).
    """
    lazy = Story(story.schedule, story.live, story.events)
    lazy.play(prompt=False)
    story.play(prompt=True)
    for position, seen_ns, request in story.requests():
        decision = story.expected(position, seen_ns, request)
        wanted = decision.kind, decision.models, decision.result, decision.step, decision.arrived
        assert told(lazy, request.id) == wanted
        assert told(story, request.id) == wanted
        start_ns = story.start_ns(request, seen_ns)
        assert lazy.answered_at_ns[request.id] >= start_ns + decision.at_ns
        at_ns = story.answered_at_ns[request.id]
        assert at_ns == max(seen_ns, start_ns + decision.at_ns)
        assert story.results[request.id].waited_ms == (at_ns - start_ns) // 1000 / 1000
        limit_ms = min(story.schedule.sla_ms, request.deadline_ms or story.schedule.sla_ms)
        assert at_ns <= max(seen_ns, start_ns + limit_ms * 1e6)


def test_no_request_waits_for_the_first_known_model_if_that_has_refused() -> None:
    """Until a model is known, a step that accepts any waits in spite of the refusal."""
    schedule = Schedule(sla_ms=50.0, steps=[Step(accept=["*"])], default="none", name="s")
    refusal = Score("r0", "a", "1", 0, refusal="behind")
    events = [make_request("r0", BASE_NS), refusal, Change("a", is_up=True)]
    story = Story(schedule, [], [(BASE_NS + n, event) for n, event in enumerate(events)])
    story.play(prompt=True)
    assert (story.results["r0"].kind, story.answered_at_ns["r0"]) == ("default", BASE_NS + 2)


@given(stories())
@settings(derandomize=True, deadline=None, max_examples=150)
def test_every_answer_says_its_code(story: Story) -> None:
    """Only a preferred answer has no code; the sentence is not needed for it."""
    story.play(prompt=True)
    for result in story.results.values():
        assert (result.code == "") == (result.kind == "preferred")
        assert (result.reason == "") == (result.kind == "preferred")
        assert result.code in RESULT_CODES
        assert result_code(msgspec.structs.replace(result, reason="")) == result.code
