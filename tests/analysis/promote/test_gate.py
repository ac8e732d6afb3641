"""Check the gate: which verdicts it gives for which figures."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rdv.analysis.promote.gate import ClassLoss, Figures, Quality, judge
from rdv.analysis.statistics import Interval
from rdv.decision import Gate


def interval(estimate, half):
    return Interval(estimate, estimate - half, estimate + half, 0.95, "made")


GOOD = Figures(
    both=5000,
    judged=2000,
    quality=Quality("accuracy", "90.0 %", "91.0 %", interval(-0.01, 0.005), 0.005, is_share=True),
    problem="",
    classes=(ClassLoss("1", 600, interval(0.0, 0.01)), ClassLoss("0", 1400, interval(0.0, 0.01))),
    versions="only the newest versions count",
    agreement=interval(0.95, 0.01),
    agreement_of="answers",
    kappa=0.9,
    late=0.001,
    champion_late=0.0,
    errors=0.0,
    champion_errors=0.0,
    refusals=0.0,
    drift="steady",
    drift_sentence="steady",
)


UNJUDGED = {"quality": None, "problem": "no outcomes"}


def loss_of(estimate, half):
    return {"quality": replace(GOOD.quality, loss=interval(estimate, half))}


def classes_of(known, loss):
    return {"classes": (ClassLoss("0", 1400, interval(0.0, 0.01)), ClassLoss("1", known, loss))}


def verdict(name, **changes):
    gate = judge(replace(GOOD, **changes), Gate())
    return {check.name: check.verdict for check in gate.checks}[name]


def test_all_checks_pass():
    gate = judge(GOOD, Gate())
    assert gate.verdict == "pass"
    assert gate.broken() == ()
    assert [check.name for check in gate.checks] == [
        "requests", "quality", "each class", "latency", "errors", "refusals", "drift",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "changes", "expected"),
    [
        ("requests", {"both": 999}, "fail"),
        ("requests", {"both": 1000}, "pass"),
        ("quality", loss_of(0.0, 0.004), "pass"),
        ("quality", loss_of(0.0, 0.006), "marginal"),
        ("quality", loss_of(0.02, 0.01), "fail"),
        ("quality", {"judged": 99, "agreement": interval(0.95, 0.02)}, "pass"),
        (
            "quality",
            UNJUDGED | {"agreement": interval(0.85, 0.02)},
            "marginal",
        ),
        ("quality", UNJUDGED | {"agreement": interval(0.4, 0.02)}, "fail"),
        ("quality", UNJUDGED | {"agreement": None}, "fail"),
        ("quality", UNJUDGED | {"kappa": 0.2}, "marginal"),
        ("quality", UNJUDGED | {"kappa": None}, "pass"),
        (
            "quality",
            UNJUDGED | {"kappa": 0.2, "agreement": interval(0.4, 0.02)},
            "fail",
        ),
        ("quality", classes_of(29, None), "pass"),
        ("each class", classes_of(100, interval(0.02, 0.01)), "pass"),
        ("each class", classes_of(100, interval(0.06, 0.02)), "marginal"),
        ("each class", classes_of(100, interval(0.2, 0.1)), "fail"),
        ("each class", classes_of(29, interval(0.2, 0.1)), "unknown"),
        ("latency", {"late": 0.02}, "marginal"),
        ("latency", {"late": 0.06}, "fail"),
        ("latency", {"late": 0.06, "champion_late": 0.07}, "pass"),
        ("errors", {"errors": 0.002}, "marginal"),
        ("errors", {"errors": 0.01}, "fail"),
        ("errors", {"errors": 0.01, "champion_errors": 0.01}, "pass"),
        ("refusals", {"refusals": 0.04}, "marginal"),
        ("refusals", {"refusals": 0.06}, "fail"),
        ("drift", {"drift": "too few"}, "unknown"),
        ("drift", {"drift": "input changed"}, "pass"),
        ("drift", {"drift": "model changed"}, "pass"),
        ("drift", {"drift": "canary changed"}, "pass"),
        ("drift", {"drift": "model changed", "has_canary": True}, "fail"),
        ("drift", UNJUDGED | {"drift": "input changed"}, "marginal"),
        ("drift", UNJUDGED | {"drift": "model changed"}, "marginal"),
        ("drift", UNJUDGED | {"drift": "model changed", "has_canary": True}, "fail"),
        ("drift", UNJUDGED | {"drift": "canary changed"}, "pass"),
        ("drift", UNJUDGED | {"drift": "canary changed", "has_canary": True}, "marginal"),
    ],
)
def test_each_check(name, changes, expected):
    assert verdict(name, **changes) == expected
    gate = judge(replace(GOOD, **changes), Gate())
    assert gate.verdict == ("pass" if expected == "unknown" else expected)
    assert bool(gate.broken()) == (expected in ("marginal", "fail"))


shares = st.floats(0, 1)


@given(shares, shares, shares, shares, st.integers(0, 3000), shares)
def test_worse_figures_never_make_a_better_verdict(late, errors, refusals, more, both, loss):
    order = ["pass", "marginal", "fail"]
    figures = replace(
        GOOD, late=late, errors=errors, refusals=refusals, both=both, **loss_of(loss, 0.01)
    )
    worse = replace(
        figures,
        late=min(1.0, late + more),
        errors=min(1.0, errors + more),
        refusals=min(1.0, refusals + more),
        both=both // 2,
        **loss_of(loss + more, 0.01),
    )
    before, after = judge(figures, Gate()), judge(worse, Gate())
    for one, other in zip(before.checks, after.checks, strict=True):
        assert order.index(one.verdict) <= order.index(other.verdict)
    assert order.index(before.verdict) <= order.index(after.verdict)
