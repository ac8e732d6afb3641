"""Hold the bounds of a what-if with refusals against every case, tried by brute force."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from rdv.analysis.dataset.joined import DEFAULT, FALLBACK, PREFERRED
from rdv.analysis.whatif.arrivals import FOREVER_US, KEY_BITS, NEVER_KEY, Arrivals
from rdv.analysis.whatif.bounds import extremes
from rdv.analysis.whatif.decide import NO_MODEL, decide_all
from rdv.analysis.whatif.result import Side
from rdv.rendezvous.schedule import schedule_from_object

MODELS = ("a", "b", "c", "d")
COUNT = 60
CASES = 150


@st.composite
def schedules(draw):
    """Draw a schedule of one to four steps, some of which need or combine several answers."""
    ends = sorted(draw(st.sets(st.integers(2, 38), max_size=3)))
    steps = []
    for end in [*ends, None]:
        accept = draw(st.permutations([*MODELS, "*"]))[: draw(st.integers(1, 4))]
        step = {"accept": accept}
        if end is not None:
            step["until_ms"] = end
        if draw(st.booleans()):
            step["need"] = draw(st.sampled_from([2, 0.5, "all"]))
            if "*" not in accept and step["need"] == 2:
                step["need"] = min(2, len(accept)) if len(accept) > 1 else 0.5
            if draw(st.integers(0, 3)) == 0:
                step["combine"] = "mean"
        steps.append(step)
    return schedule_from_object({"sla_ms": 40, "default": 0, "step": steps}, "drawn")


def drawn_arrivals(seed):
    """Return arrivals, where models have refused, and which answers are right."""
    chance = np.random.default_rng(seed)
    at_us = chance.integers(100, 45_000, (4, COUNT))
    key = (at_us << KEY_BITS) | np.arange(4)[:, None]
    key[chance.random((4, COUNT)) < 0.1] = NEVER_KEY
    refused = (chance.random((4, COUNT)) < 0.25) & (key < NEVER_KEY)
    arrivals = Arrivals(
        MODELS,
        key,
        ~refused & (key < NEVER_KEY) & (chance.random((4, COUNT)) < 0.95),
        np.where(chance.random(COUNT) < 0.1, chance.integers(0, 30_000, COUNT), FOREVER_US),
        np.ones(4, bool),
        np.zeros(4, bool),
    )
    right = (chance.random((5, COUNT)) < 0.6).astype(float)
    right[:, chance.random(COUNT) < 0.2] = np.nan
    return arrivals, refused, right, chance


def a_case(arrivals, refused, chance):
    """Let each refusal stay, be silence, or be an answer some time later."""
    kind = chance.integers(0, 4, refused.shape)
    later_us = (arrivals.key >> KEY_BITS) + chance.choice(
        [0, 1, 500, 5_000, 20_000], refused.shape
    ) * (kind >= 2)
    key = np.where(refused & (kind == 1), NEVER_KEY, arrivals.key)
    answers = refused & (kind >= 2)
    key = np.where(answers, (later_us << KEY_BITS) | (arrivals.key & 0xFFFF), key)
    return replace(arrivals, key=key, is_answer=arrivals.is_answer | answers), answers


@settings(derandomize=True, deadline=None, max_examples=60)
@given(schedules(), st.integers(0, 2**32))
def test_no_case_lies_outside_the_bounds(schedule, seed):
    arrivals, refused, right, chance = drawn_arrivals(seed)
    decided = decide_all(schedule, arrivals)

    def right_of(rows, case):
        return right[case.model.astype(int), rows]

    found = extremes(
        arrivals,
        refused,
        decided,
        lambda _, changed: decide_all(schedule, changed),
        [schedule],
        right_of,
    )
    low, high = Side(), Side()
    found.add_to(low, high)
    rows = np.arange(COUNT)
    is_sure = ~refused.any(axis=0)
    assert (found.at_low_us[is_sure] == found.at_high_us[is_sure]).all()
    assert (found.kinds_low[:, is_sure] == found.kinds_high[:, is_sure]).all()
    for _ in range(CASES):
        changed, answers = a_case(arrivals, refused, chance)
        case = decide_all(schedule, changed)
        for place, (kind, name) in enumerate(
            ((PREFERRED, "preferred"), (FALLBACK, "fallback"), (DEFAULT, "default"))
        ):
            is_so = case.kind == kind
            assert (found.kinds_low[place] <= is_so).all()
            assert (is_so <= found.kinds_high[place]).all()
            assert low.kinds[name] <= is_so.sum() <= high.kinds[name]
        assert (found.at_low_us <= case.at_us).all()
        assert (case.at_us <= found.at_high_us).all()
        # An answer that nobody knows may be right or wrong.
        model = case.model.astype(int)
        unknown = (model != NO_MODEL) & answers[model, rows]
        said = np.where(unknown, chance.integers(0, 2, COUNT), right[model, rows])
        known = ~np.isnan(right[0]) & ~case.is_combined
        assert (found.right_low[known] <= said[known]).all()
        assert (said[known] <= found.right_high[known]).all()


def test_two_refusals_may_add_up():
    """The preferred share may be higher than with all refusals as answers, and than with none."""
    schedule = schedule_from_object(
        {
            "sla_ms": 20,
            "default": 0,
            "step": [{"until_ms": 5, "accept": ["a"]}, {"accept": ["b", "a"]}],
        },
        "two",
    )
    us = np.array([[2_000, 8_000], [3_000, 2_000]])
    arrivals = Arrivals(
        ("a", "b"),
        us << KEY_BITS,
        np.array([[False, True], [True, False]]),
        np.full(2, FOREVER_US),
        np.ones(2, bool),
        np.zeros(2, bool),
    )
    refused = ~arrivals.is_answer
    found = extremes(
        arrivals,
        refused,
        decide_all(schedule, arrivals),
        lambda _, changed: decide_all(schedule, changed),
        [schedule],
        lambda rows, _: np.full(len(rows), np.nan),
    )
    # a may have answered the first request, and b may be silent in the second: both preferred.
    assert found.kinds_high[0].tolist() == [True, True]
    assert found.kinds_low[0].tolist() == [False, False]
