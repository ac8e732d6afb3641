"""Check the timeline that is drawn of a schedule."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from rdv.rendezvous.schedule import draw_schedule, schedule_from_object

PLAIN = {
    "sla_ms": 50,
    "default": {"p": 0},
    "step": [
        {"until_ms": 30, "accept": ["gbm"]},
        {"until_ms": 45, "accept": ["gbm", "logit"]},
        {"accept": ["*"]},
    ],
}


def test_the_schedule_of_the_design() -> None:
    drawn = draw_schedule(schedule_from_object(PLAIN), 65, ascii_only=True)
    assert drawn == [
        "           ms  0                             30             45 50",
        "gbm            ##################################################",
        "logit          ..............................===============#####",
        "any other (*)  .............................................#####",
        "step           1                             2              3",
        '               no answer by 50 ms: the default, {"p": 0}',
    ]


def test_quorums_and_blocks() -> None:
    plain = {"sla_ms": 50, "step": [{"accept": ["a", "b"], "need": 0.5, "combine": "mean"}]}
    drawn = draw_schedule(schedule_from_object(plain), 60)
    assert any("step 1: 50% of the answers, mean" in line for line in drawn)
    assert any("null (no default is set)" in line for line in drawn)
    assert "█" in drawn[1]
    assert "▒" in drawn[2]


@given(
    st.lists(st.integers(1, 2000), min_size=1, max_size=6),
    st.integers(1, 1000),
    st.integers(0, 200),
)
@settings(derandomize=True, deadline=None, max_examples=100)
def test_it_fits_whatever_the_schedule(ends_ms, sla_ms, width) -> None:
    """Unwise schedules are drawn too, as users need to see them most."""
    steps = [{"until_ms": end, "accept": ["m" * (n * 9 + 1), "*"]} for n, end in enumerate(ends_ms)]
    drawn = draw_schedule(schedule_from_object({"sla_ms": sla_ms, "step": steps}), width)
    assert max(map(len, drawn)) <= max(width, 40)
    assert f"{sla_ms}" in drawn[0]
