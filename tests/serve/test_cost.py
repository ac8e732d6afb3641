"""Check how a worker learns the cost of a batch."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from rdv.rendezvous.backlog import Cost

quick = settings(derandomize=True, deadline=None)


@quick
@given(st.floats(0, 5), st.floats(0.01, 2), st.lists(st.integers(1, 64), min_size=80, max_size=120))
def test_both_parts_are_found(fixed_ms, row_ms, sizes) -> None:
    cost = Cost()
    for rows in [*sizes, 1, 64, 1, 64]:
        cost.learn(rows, fixed_ms + row_ms * rows)
    for rows in (1, 64):
        true_ms = fixed_ms + row_ms * rows
        if len(set(sizes)) > 20:
            assert abs(cost.of(rows) - true_ms) < 0.35 * true_ms + 0.05


@quick
@given(st.lists(st.tuples(st.integers(1, 1_000), st.floats(0, 1e4)), max_size=60))
def test_it_is_never_negative_nor_beyond_what_was_seen(batches) -> None:
    cost = Cost()
    most_ms = max((took for _, took in batches), default=0.0)
    for rows, took_ms in batches:
        cost.learn(rows, took_ms)
        assert cost.fixed_ms >= 0
        assert cost.row_ms >= 0
        assert cost.of(1) <= most_ms * (1 + 1e-9) + 1e-9


def test_batches_of_one_size_are_all_rows() -> None:
    cost = Cost()
    for _ in range(30):
        cost.learn(10, 20.0)
    assert cost.fixed_ms == 0
    assert abs(cost.row_ms - 2.0) < 1e-6


def test_a_stutter_does_not_outweigh_what_is_known() -> None:
    cost = Cost()
    for _ in range(10):
        cost.learn(10, 10)
    cost.learn(1, 20)
    assert cost.of(1) < 3.0
    for _ in range(20):
        cost.learn(1, 20)
    assert cost.of(1) > 15


def test_a_slow_first_call_is_soon_forgotten() -> None:
    cost = Cost()
    cost.learn(1, 500)
    for _ in range(6):
        cost.learn(1, 1)
    assert cost.of(1) < 20
