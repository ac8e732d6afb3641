"""Check the mix of answers, and when it counts as recovered."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from rdv.load.drill.mix import Asked, Mix, Recovery, mix_of

quick = settings(derandomize=True, deadline=None, max_examples=100)
MS = 1_000_000


def answer(kind, at_ms=0, status=200, failure=""):
    return Asked(8100, at_ms * MS, (at_ms + 5) * MS, status, failure, f"id-{at_ms}", kind)


def test_shares_are_of_all_requests():
    asked = [answer("preferred"), answer("default"), answer("", status=0, failure="lost")]
    mix = mix_of([*asked, answer("", status=429)])
    assert mix == Mix(4, 0.25, 0.0, 0.25)
    assert (str(mix), str(mix_of([]))) == ("25/0/25 %", "-")


def recovered(before, answers, window=4, since_ms=0):
    recovery = Recovery(before, since_ms * MS, window)
    for one in answers:
        if recovery.add(one):
            return recovery.begun_ns / MS
    return None


CALM = Mix(100, 1.0, 0.0, 0.0)


def test_it_is_back_when_a_whole_window_is_as_it_was():
    answers = [answer("default", n) for n in range(5)] + [
        answer("preferred", n) for n in range(5, 9)
    ]
    assert recovered(CALM, answers) == 5
    assert recovered(CALM, answers[:-1]) is None


def test_what_was_bad_at_the_beginning_of_the_window_is_part_of_the_recovery():
    kinds = ["default"] * 2 + ["preferred"] * 18
    answers = [answer(kind, n) for n, kind in enumerate(kinds)]
    assert recovered(CALM, answers, window=20) == 2


def test_requests_sent_before_the_fault_ended_do_not_count():
    assert recovered(CALM, [answer("preferred", n) for n in range(10)], since_ms=6) == 6


def test_a_request_without_an_answer_is_no_recovery():
    lost = answer("", 2, 0, "connect")
    answers = [answer("preferred", 0), answer("preferred", 1), lost, answer("preferred", 3)]
    assert recovered(CALM, answers) is None


def test_what_was_never_better_need_not_become_better():
    before = Mix(100, 0.0, 0.4, 0.6)
    assert recovered(before, [answer(k, n) for n, k in enumerate(["fallback", "default"] * 2)]) == 0


@given(st.lists(st.sampled_from(["preferred", "fallback", "default", ""]), max_size=30))
@quick
def test_a_mix_is_as_it_was_when_it_is_the_same(kinds):
    answers = [answer(kind, n, 200 if kind else 503) for n, kind in enumerate(kinds)]
    if answers:
        assert recovered(mix_of(answers), answers, window=len(answers)) == 0
