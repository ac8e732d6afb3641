"""Check the number of instances by made-up histories and with a simulated model."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from rdv.serve.supervisor.scaling import (
    REMEMBER_MS,
    UP_MEASUREMENTS,
    Limits,
    Measurement,
    Verdict,
    begun,
    decide,
    followed,
    measured,
    with_request,
)

LIMITS = Limits(least=1, most=4, idle_ms=60_000, down_ms=30_000, batch_max=1)
LAZY = replace(LIMITS, least=0)


def look(second, *, ready=1, scored=0.0, refused=0.0, waiting=0, row_ms=10.0):
    return Measurement(second * 1000, ready, scored, refused, waiting, row_ms, 0.0, second)


def judged(history, look, limits=LIMITS):
    history = measured(history, look, limits)
    return followed(history, decide(history, limits, look.time_ms), look.time_ms)


class Model:
    """Simulate instances that score `per_s` requests per second each and refuse the others.

    New instances are ready a second late.
    """

    def __init__(self, limits, per_s=100.0, count=1, row_ms=None):
        self.limits, self.per_s = limits, per_s
        self.row_ms = 1000 / per_s if row_ms is None else row_ms
        self.history, self.second, self.ready = begun(count, 0), 0, count
        self.counts = [count]
        self.reasons = []

    def run(self, seconds, asked):
        for _ in range(seconds):
            self.second += 1
            scored = min(asked, self.ready * self.per_s)
            refused = asked - scored if self.ready else 0
            if self.history.wanted == 0 and asked:
                self.history = with_request(self.history)
            now = look(
                self.second, ready=self.ready, scored=scored, refused=refused, row_ms=self.row_ms
            )
            self.history = judged(self.history, now, self.limits)
            self.ready = self.history.wanted
            if self.history.wanted != self.counts[-1]:
                self.counts.append(self.history.wanted)
                self.reasons.append(self.history.reason)
        return self


def test_more_as_soon_as_windows_are_missed():
    model = Model(LIMITS).run(6, asked=150)
    assert model.counts == [1, 2]
    assert model.reasons == ["50 of 150 requests/s missed their window"]


def test_far_too_few_are_doubled_not_counted_up():
    model = Model(replace(LIMITS, most=16)).run(20, asked=1_000)
    assert model.counts == [1, 2, 4, 8, 13]


def test_one_slow_batch_starts_no_instance():
    history = begun(1, 0)
    for second in range(1, 40):
        refused = 50 if second % (UP_MEASUREMENTS + 1) == 0 else 0
        history = judged(history, look(second, scored=50, refused=refused))
    assert history.wanted == 1


def test_two_looks_at_the_same_words_are_one():
    history = begun(1, 0)
    for second in range(1, 10):
        history = judged(history, look(second, scored=50, refused=50)._replace(status_ns=7))
    assert history.wanted == 1


def test_fewer_only_after_a_long_time_and_one_by_one():
    model = Model(LIMITS, count=4).run(30, asked=20)
    assert model.counts == [4]
    model.run(300, asked=20)
    assert model.counts == [4, 3, 2, 1]
    assert model.reasons[0] == "3 would have been enough for 30 s"


def test_a_number_that_was_too_few_is_not_tried_again_at_the_same_load():
    # Rows are so cheap that one instance seems enough, but it still misses windows.
    model = Model(LIMITS, row_ms=4.0).run(400, asked=120)
    assert model.counts == [1, 2]
    model.run(120, asked=80)
    assert model.counts == [1, 2, 1]
    model = Model(LIMITS, row_ms=4.0).run(int(REMEMBER_MS / 1000) + 60, asked=120)
    assert model.counts == [1, 2, 1, 2], "after a long time it is tried again"


def test_a_model_that_is_too_slow_for_its_window_gets_no_company():
    history = begun(1, 0)
    for second in range(1, 60):
        history = judged(history, look(second, scored=1, refused=99, row_ms=100))
    assert history.wanted == 1


def test_what_waits_counts_where_nothing_is_refused():
    history = begun(1, 0)
    for second in range(1, 5):
        history = judged(history, look(second, scored=100, waiting=300))
    assert history.wanted == 2
    assert history.reason == "300 requests wait, 3.0 s of work for each instance"


def test_a_killed_instance_is_no_reason_to_scale():
    """It is restarted, and finds requests that were due while it was gone."""
    history = begun(2, 0)
    for second, ready, refused in ((1, 2, 0), (2, 1, 40), (3, 1, 60), (4, 2, 80), (5, 2, 0)):
        history = judged(history, look(second, ready=ready, scored=90, refused=refused))
        assert history.wanted == 2


def test_a_model_is_started_by_a_request_and_stopped_when_idle():
    model = Model(LAZY, count=0).run(100, asked=0)
    assert model.counts == [0]
    model.run(10, asked=5)
    assert model.counts == [0, 1]
    model.run(59, asked=0)
    assert model.counts == [0, 1]
    model.run(2, asked=0)
    assert model.counts == [0, 1, 0]
    assert model.reasons == ["it is asked for", "not asked for 60 s"]


def test_idle_to_the_minimum_at_once():
    model = Model(LIMITS, count=4)
    model.limits = replace(LIMITS, down_ms=3_600_000)
    assert model.run(70, asked=0).counts == [4, 1]


def test_what_does_not_come_up_is_given_up_until_it_is_asked_for_again():
    history = followed(with_request(begun(0, 0)), Verdict(1, "it is asked for"), 0)
    quick = replace(LAZY, idle_ms=1_000)
    for second in range(1, 60):
        history = judged(history, look(second, ready=0), quick)
        assert history.wanted == 1
    history = judged(history, look(60, ready=0), quick)
    assert (history.wanted, history.reason) == (0, "it has not come up for 60 s")


def test_an_edit_of_the_limits_counts_at_once():
    assert decide(begun(1, 0), replace(LIMITS, least=3), 0).wanted == 3
    assert decide(begun(4, 0), replace(LIMITS, most=2), 0).wanted == 2
    assert decide(begun(0, 0), LIMITS, 0).wanted == 1


counts = st.integers(0, 8)
loads = st.lists(
    st.tuples(
        st.floats(0, 5_000), st.floats(0, 5_000), st.integers(0, 10_000), counts,
        st.floats(0, 500), st.floats(0, 500), st.floats(1, 100_000), st.booleans(),
    ),
    max_size=60,
)  # fmt: skip


@given(st.integers(0, 4), st.integers(1, 8), counts, loads)
def test_never_outside_the_limits(least, most, count, looks):
    limits = Limits(min(least, most), most, 5_000, 3_000, 8)
    history, now_ms = begun(count, 0), 0.0
    for scored, refused, waiting, ready, row_ms, fixed_ms, after_ms, is_requested in looks:
        now_ms += after_ms
        history = with_request(history) if is_requested else history
        history = judged(
            history,
            Measurement(now_ms, ready, scored, refused, waiting, row_ms, fixed_ms, int(now_ms)),
            limits,
        )
        assert limits.least <= history.wanted <= limits.most


@given(st.floats(0, 2_000), st.floats(5, 500), st.floats(0.1, 50), st.integers(1, 8))
def test_at_a_steady_load_it_settles(asked, per_s, row_ms, most):
    """Whatever the assumed cost of a row, it scales up as far as needed, then rarely changes."""
    limits = replace(LIMITS, most=most)
    model = Model(limits, per_s=per_s, row_ms=row_ms).run(120, asked)
    settled = len(model.counts)
    model.run(400, asked)
    changes = model.counts[settled:]
    assert len(changes) <= most, model.counts
    assert not any(later > earlier for earlier, later in pairwise(changes))
    needed = asked / per_s
    if model.history.wanted < min(most, needed) - 1e-9:
        # This is only allowed where the load looks the same as a model that is too slow.
        assert row_ms * per_s / 1000 < 0.31 or asked - model.ready * per_s < 0.02 * asked + 1
