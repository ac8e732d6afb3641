"""Check schedules from text and objects; errors name file, key and reason."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rdv.errors import InputFault
from rdv.rendezvous.schedule import InvalidSchedule, schedule_from_object, schedule_from_toml

PRODUCTION = """
sla_ms = 50
default = { score = 0.0, action = "review" }
[[step]]            # only the champion will do
until_ms = 30
accept = ["gbm"]
[[step]]            # champion first, else the fast one
until_ms = 45
accept = ["gbm", "logit"]
[[step]]            # anything that has answered
accept = ["*"]
"""
STEP = '\n[[step]]\naccept = ["gbm"]\n'


def test_the_schedule_of_the_design() -> None:
    schedule = schedule_from_toml(PRODUCTION, "production")
    assert schedule.sla_ms == 50
    assert schedule.default == {"score": 0.0, "action": "review"}
    assert [step.accept for step in schedule.steps] == [["gbm"], ["gbm", "logit"], ["*"]]
    assert [step.until_ms for step in schedule.steps] == [30, 45, None]
    assert schedule.ends_ms() == [30, 45, 50]
    assert schedule.label == f"production@{schedule.content_hash}"


def test_the_hash_is_of_the_content_only() -> None:
    schedule = schedule_from_toml(PRODUCTION, "production")
    inline = schedule_from_object(
        {
            "step": [
                {"accept": ["gbm"], "until_ms": 30.0, "need": 1},
                {"accept": ["gbm", "logit"], "until_ms": 45},
                {"accept": ["*"], "combine": "best"},
            ],
            "default": {"action": "review", "score": 0.0},
            "sla_ms": 50.0,
        }
    )
    assert inline.content_hash == schedule.content_hash
    assert inline.name == "inline"
    changed = schedule_from_toml(PRODUCTION.replace("45", "46"), "production")
    assert changed.content_hash != schedule.content_hash


def test_the_hash_is_the_same_for_ever() -> None:
    assert schedule_from_toml(PRODUCTION, "p").content_hash == "524e1277a412"


@pytest.mark.parametrize(
    ("text", "key", "reason"),
    [
        ("sla_ms = ", "", "not TOML"),
        ("", "sla_ms", "is missing"),
        ("sla_ms = 50", "step", "is missing"),
        ("sla_ms = 50\nstep = []", "step", "length >= 1"),
        ("sla_ms = '50'" + STEP, "sla_ms", "expected `float`, got `str`"),
        ("sla_ms = 0" + STEP, "sla_ms", "> 0"),
        ("sla_ms = nan" + STEP, "sla_ms", "> 0"),
        ("sla_ms = 1e12" + STEP, "sla_ms", "<= 3600000"),
        ("sla = 50" + STEP, "sla", "no such key\nDid you mean sla_ms?"),
        ("sla_ms = 50" + STEP + "waits = 1", "step[1].waits", "There are accept, combine"),
        ("sla_ms = 50" + STEP + "untl_ms = 1", "step[1].untl_ms", "Did you mean until_ms?"),
        ("sla_ms = 50" + STEP + STEP, "step[1].until_ms", "only the last step may leave it out"),
        ("sla_ms = 50" + STEP + "until_ms = -1", "step[1].until_ms", "> 0"),
        ("sla_ms = 50\n[[step]]\naccept = []", "step[1].accept", "length >= 1"),
        ("sla_ms = 50\n[[step]]\naccept = 'gbm'", "step[1].accept", "expected `array`"),
        ("sla_ms = 50\n[[step]]\naccept = ['a', 3]", "step[1].accept[2]", "expected `str`"),
        ("sla_ms = 50\n[[step]]\naccept = ['a', 'a']", "step[1].accept", "names 'a' twice"),
        (
            "sla_ms = 50\n[[step]]\naccept = ['a+b']",
            "step[1].accept",
            "'a+b' is not a model's name",
        ),
        ("sla_ms = 50" + STEP + "need = 0", "step[1].need", ">= 1"),
        ("sla_ms = 50" + STEP + "need = 1.5", "step[1].need", "<= 1"),
        ("sla_ms = 50" + STEP + "need = true", "step[1].need", "got `bool`"),
        ("sla_ms = 50" + STEP + "need = 'most'", "step[1].need", "no 'most'\nGive a count"),
        ("sla_ms = 50" + STEP + "need = 2\ncombine = 'sum'", "step[1].combine", "There are best"),
        ("sla_ms = 50" + STEP + "combine = 'mean'", "step[1].need", "for several answers"),
        ("sla_ms = 50" + STEP + "on = 'label'", "step[1].on", "vote"),
        ("sla_ms = 50" + STEP + "top = 3", "step[1].top", "topk"),
        ("sla_ms = 50\ndefault = nan" + STEP, "default", "is not JSON"),
        ("sla_ms = 50\ndefault = 2026-01-01" + STEP, "default", "is not JSON"),
        ("sla_ms = 50\ndefault = 123456789012345678901234567890" + STEP, "default", "not JSON"),
    ],
)
def test_errors_name_file_key_and_reason(text, key, reason) -> None:
    with pytest.raises(InvalidSchedule) as caught:
        schedule_from_toml(text, "p", "schedules/p.toml")
    error = caught.value
    assert isinstance(error, InputFault)
    assert error.key == key
    assert str(error).startswith(f"schedules/p.toml: {key}")
    assert reason in str(error)


@pytest.mark.parametrize("plain", [None, [], "production", 3])
def test_an_inline_schedule_is_a_table(plain) -> None:
    with pytest.raises(InvalidSchedule, match="a table is needed"):
        schedule_from_object(plain)


def test_names_are_checked() -> None:
    with pytest.raises(InvalidSchedule, match="is not a name"):
        schedule_from_object({"sla_ms": 1, "step": [{"accept": ["a"]}]}, "../etc")


junk = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["sla_ms", "step", "accept", "need", "x"]), inner, max_size=3
        )
    ),
    max_leaves=8,
)


@given(junk, st.text(max_size=3))
@settings(derandomize=True, deadline=None, max_examples=150)
def test_junk_is_refused_and_nothing_else(plain, name) -> None:
    with contextlib.suppress(InvalidSchedule):
        schedule_from_object(plain, name)
