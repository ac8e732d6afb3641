"""Check that the models to ask are chosen once, stably, and written into the request."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from rdv.http import Failure
from rdv.rendezvous.model_selection import ModelSelection

quick = settings(derandomize=True, deadline=None, max_examples=60)
ids = st.text("0123456789abcdef", min_size=32, max_size=32)


@quick
@given(ids, st.floats(0, 1), st.floats(0, 1))
def test_a_larger_sample_includes_a_smaller_one(id_, one, other) -> None:
    low, high = sorted((one, other))
    few = ModelSelection(("big",), {"big": low}).not_asked(id_, None, None)
    many = ModelSelection(("big",), {"big": high}).not_asked(id_, None, None)
    assert many in ([], few)


def test_a_sample_is_as_large_as_it_says_and_independent_of_another() -> None:
    asking = ModelSelection(("a", "b", "c"), {"a": 0.5, "b": 0.5})
    left_out = [tuple(asking.not_asked(f"{n:032x}", None, None)) for n in range(4_000)]
    shares = [left_out.count(kind) / 4_000 for kind in ((), ("a",), ("b",), ("a", "b"))]
    assert all(0.22 < share < 0.28 for share in shares), shares


def test_a_clients_list_beats_a_cohorts_which_beats_samples() -> None:
    asking = ModelSelection(("a", "b", "c"), {"c": 0.0}, {"test": ("b",)})
    assert asking.not_asked("0" * 32, None, None) == ["c"]
    assert asking.not_asked("0" * 32, "test", None) == ["a", "c"]
    assert asking.not_asked("0" * 32, "other", None) == ["c"]
    assert asking.not_asked("0" * 32, "test", ["c"]) == ["a", "b"]
    assert not asking.asks_all
    assert ModelSelection(("a",)).asks_all


def test_a_list_of_no_or_unknown_models_is_refused() -> None:
    asking = ModelSelection(("a", "b"))
    assert asking.check(["a"]) is None
    for wanted, word in (([], "no model named"), (["x", "a"], "'x'")):
        failure = asking.check(wanted)
        assert isinstance(failure, Failure)
        assert failure.status == 422
        assert word in failure.message
        assert "a, b" in failure.message
