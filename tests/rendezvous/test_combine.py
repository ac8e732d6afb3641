"""Check how several answers are combined into one."""

from __future__ import annotations

import json
import statistics

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rdv.rendezvous.rules import combine_results

quick = settings(derandomize=True, deadline=None, max_examples=100)


def combine(how, *values, on=None, top=None):
    raws = [msgspec.Raw(json.dumps(value).encode()) for value in values]
    combined = combine_results(how, raws, on, top)
    return None if combined is None else json.loads(bytes(combined))


def test_a_vote_is_for_an_answer_as_it_was_given():
    given = [
        msgspec.Raw(text) for text in (b'{"a":1}', b'{"b": 1e2, "a":-0.0}', b'{"a":-0.0,"b":1E2}')
    ]
    assert bytes(combine_results("vote", given)) == b'{"b": 1e2, "a":-0.0}'


@pytest.mark.parametrize(
    ("how", "values", "expected"),
    [
        ("best", [{"p": 1}, {"p": 2}], {"p": 1}),
        ("mean", [1, 2], 1.5),
        ("median", [1, 9, 2], 2),
        ("mean", [{"p": 1, "a": "x"}, {"p": 2, "a": "y", "b": 9}], {"p": 1.5, "a": "x"}),
        ("mean", [{"p": 1, "q": 5}, {"p": 3}], {"p": 2.0, "q": 5.0}),
        ("mean", [[1, [2]], [3, [4]]], [2.0, [3.0]]),
        ("mean", [[1], [1, 2]], [1]),
        ("mean", [True, False], True),
        ("mean", [1, "x"], 1),
        ("vote", ["a", "b", "b"], "b"),
        ("vote", ["a", "b"], "a"),
        ("vote", [{"x": 1, "y": 2}, {"z": 0}, {"y": 2, "x": 1}], {"x": 1, "y": 2}),
        ("topk", [["a", "b"], ["b", "a"], ["b", "c"]], ["b", "a"]),
        ("topk", [["a", "a", "b"], ["b"]], ["b", "a"]),
        ("topk", [[], []], []),
        ("topk", [[{"id": 1, "s": 3}], [{"id": 1}, {"id": 2}]], [{"id": 1, "s": 3}, {"id": 2}]),
        ("topscore", [[["a", 0.2], ["b", 0.1]], [["c", 0.9]]], [["c", 0.9], ["a", 0.2]]),
        ("topscore", [[{"id": 1, "score": 3}], [{"id": 1, "score": 5}, {"id": 2, "score": 4}]],
         [{"id": 1, "score": 5}, {"id": 2, "score": 4}]),
    ],
)  # fmt: skip
def test_combined(how, values, expected) -> None:
    assert combine(how, *values) == expected


def test_by_field() -> None:
    votes = {"label": 7, "p": 0.9}, {"label": 1, "p": 0.6}, {"label": 1, "p": 0.5}
    assert combine("vote", *votes, on="label") == {"label": 1, "p": 0.6}
    lists = {"ads": ["a"], "by": "x"}, {"ads": ["b", "a"]}
    assert combine("topk", *lists, on="ads", top=1) == {"ads": ["a"], "by": "x"}


@pytest.mark.parametrize(
    ("how", "values", "on"),
    [("topk", [1, [2]], None), ("topk", [{"id": 1}], None), ("vote", [1, 2], "label"),
     ("mean", [1.7e308, 1.7e308], None), ("topk", [[1], {"ads": [1]}], "ads"),
     ("topscore", [["a"]], None), ("topscore", [[{"id": 1}]], None),
     ("topscore", [[["a", True]]], None), ("topscore", [{"a": 1}], None)],
)  # fmt: skip
def test_what_cannot_be_combined(how, values, on) -> None:
    assert combine(how, *values, on=on) is None


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=9))
@quick
def test_means_are_those_of_the_textbook(values) -> None:
    assert combine("mean", *values) == pytest.approx(statistics.fmean(values))
    assert combine("median", *values) == pytest.approx(statistics.median(values))


@given(st.lists(st.lists(st.integers(0, 6), max_size=5), min_size=1, max_size=4), st.integers(1, 9))
@quick
def test_a_merge_has_each_item_once_and_no_other(lists, top) -> None:
    merged = combine("topk", *lists, top=top)
    union = {item for items in lists for item in items}
    assert len(merged) == len(set(merged)) == min(top, len(union))
    assert set(merged) <= union


@given(st.lists(st.integers(-50, 50), max_size=30), st.integers(1, 5), st.integers(1, 9))
@quick
def test_a_merge_of_shards_is_the_best_of_all(scores, shards, top) -> None:
    """Split over shards, cut to `top` by each and merged, the items are as good as unsplit."""
    items = [[number, score] for number, score in enumerate(scores)]
    lists = [
        sorted(items[shard::shards], key=lambda item: -item[1])[:top] for shard in range(shards)
    ]
    merged = combine("topscore", *lists, top=top)
    assert [score for _, score in merged] == sorted(scores, reverse=True)[:top]
