"""The engine decides as the plain reference does, whatever happens and whenever it is ticked."""

from __future__ import annotations

from hypothesis import given, settings
from histories import Story, stories

quick = settings(derandomize=True, deadline=None, max_examples=1_500)


def told(story: Story, id_: str) -> tuple:
    result = story.results[id_]
    models = tuple(result.model.split("+")) if result.model else ()
    arrived = tuple(arrival.model for arrival in result.arrived)
    return result.kind, models, bytes(result.result), result.step, arrived


@given(stories())
@quick
def test_engine_equals_reference(story: Story) -> None:
    """DESIGN 2 (5). Ticks come as the story has them: late, seldom, or not at all."""
    story.play(prompt=False)
    for position, seen_ns, request in story.requests():
        decision = story.expected(position, seen_ns, request)
        wanted = decision.kind, decision.models, decision.result, decision.step, decision.arrived
        assert told(story, request.id) == wanted
        start_ns = story.start_ns(request, seen_ns)
        assert story.answered_at_ns[request.id] - start_ns >= decision.at_ns


@given(stories())
@quick
def test_ticked_in_time_it_answers_in_time(story: Story) -> None:
    """DESIGN 2 (1): at the instant of the decision, and never after the deadline."""
    story.play(prompt=True)
    for position, seen_ns, request in story.requests():
        decision = story.expected(position, seen_ns, request)
        start_ns = story.start_ns(request, seen_ns)
        at_ns = story.answered_at_ns[request.id]
        assert at_ns == max(seen_ns, start_ns + decision.at_ns)
        assert story.results[request.id].waited_ms == (at_ns - start_ns) // 1000 / 1000
        limit_ms = min(story.schedule.sla_ms, request.deadline_ms or story.schedule.sla_ms)
        assert at_ns <= max(seen_ns, start_ns + limit_ms * 1e6)


@given(stories())
@quick
def test_ticks_change_nothing(story: Story) -> None:
    lazy = Story(story.schedule, story.live, story.events)
    story.play(prompt=True)
    lazy.play(prompt=False)
    assert {id_: told(story, id_) for id_ in story.results} == {
        id_: told(lazy, id_) for id_ in lazy.results
    }
