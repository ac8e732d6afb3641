"""Check the policy of restarts by made-up histories, without processes."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from rdv.serve.supervisor.plan import (
    ATTEMPTS_MAX,
    DELAY_MS_MAX,
    STEADY_MS,
    RestartState,
    became_ready,
    ended,
    is_hopeless,
    started,
)


def delays(lives_ms):
    """Return the delays before each restart of a process with these lifetimes, and its state."""
    state, now_ms, found = RestartState(), 0.0, []
    for life_ms in lives_ms:
        state = started(state, now_ms)
        now_ms += life_ms
        state, delay_ms = ended(state, now_ms)
        found.append(delay_ms)
        now_ms += delay_ms
    return found, state


def test_at_once_then_longer_and_longer_up_to_a_limit():
    found, _ = delays([5] * 12)
    assert found[:5] == [0, 100, 200, 400, 800]
    assert found[-1] == DELAY_MS_MAX


def test_the_backoff_is_reset_after_a_long_run():
    found, _ = delays([5, 5, 5, STEADY_MS, 5])
    assert found == [0, 100, 200, 0, 100]


@given(st.lists(st.floats(0, 1e6), max_size=60))
def test_never_negative_never_beyond_the_limit(lives_ms):
    found, _ = delays(lives_ms)
    assert all(0 <= delay <= DELAY_MS_MAX for delay in found)


def test_thousands_of_failures_are_still_a_number():
    assert ended(RestartState(failures=100_000), 0.0)[1] == DELAY_MS_MAX


def test_a_process_that_never_became_ready_is_hopeless():
    _, state = delays([5] * (ATTEMPTS_MAX - 1))
    assert not is_hopeless(state)
    _, state = delays([5] * ATTEMPTS_MAX)
    assert is_hopeless(state)
    assert not is_hopeless(became_ready(state))


def test_a_process_that_reports_a_permanent_error_is_not_restarted():
    _, state = delays([5])
    assert is_hopeless(state, is_refusal=True)
    assert not is_hopeless(became_ready(state), is_refusal=True)
