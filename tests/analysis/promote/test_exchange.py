"""Check the exchange of two models in a schedule's text."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rdv.analysis.errors import CannotExchange
from rdv.analysis.promote.exchange import champion_of, exchange
from rdv.rendezvous.schedule import schedule_from_toml

TEXT = """\
# who is preferred: "gbm"
sla_ms = 50
default = { score = 0.0, model = "gbm" }  # accept = ["gbm"]
[[step]]
until_ms = 30   # the champion alone
accept = ["gbm"]   # "gbm" only
[[step]]
until_ms = 45
accept = [
    'gbm',  # first "logit"]
    "logit",
]
[[step]]
accept = ["*"]
"""


def accepts(text):
    return [step.accept for step in schedule_from_toml(text, "x").steps]


def test_both_change_places_and_nothing_else_changes():
    new = exchange(TEXT, "x", "gbm", "logit")
    assert accepts(new) == [["logit"], ["logit", "gbm"], ["*"]]
    changed = [(a, b) for a, b in zip(TEXT.splitlines(), new.splitlines(), strict=True) if a != b]
    assert changed == [
        ('accept = ["gbm"]   # "gbm" only', 'accept = ["logit"]   # "gbm" only'),
        ("    'gbm',  # first \"logit\"]", '    "logit",  # first "logit"]'),
        ('    "logit",', '    "gbm",'),
    ]
    assert champion_of(schedule_from_toml(new, "x")) == "logit"


def test_a_new_model_takes_the_place():
    assert accepts(exchange(TEXT, "x", "gbm", "new")) == [["new"], ["new", "gbm", "logit"], ["*"]]


def test_a_new_model_in_a_step_that_accepts_any():
    text = 'sla_ms = 5\ndefault = 1\n[[step]]\nuntil_ms = 3\naccept = ["a"]\n'
    text += '[[step]]\naccept = ["a", "*"]\n'
    assert accepts(exchange(text, "x", "a", "b")) == [["b"], ["b", "*"]]


def test_line_ends_stay():
    text = TEXT.replace("\n", "\r\n")
    assert exchange(text, "x", "gbm", "logit").count("\r\n") == text.count("\r\n")


def test_what_only_a_person_should_edit():
    inline = 'sla_ms = 5\ndefault = 1\nstep = [{accept = ["a"]}]\n'
    with pytest.raises(CannotExchange):
        exchange(inline, "x", "a", "b")
    with pytest.raises(CannotExchange, match="does not name"):
        exchange(TEXT, "x", "rules", "b")
    tricky = 'default = """\naccept = ["a"]\n"""\nsla_ms = 5\n[[step]]\naccept = ["a"]\n'
    with pytest.raises(CannotExchange):
        exchange(tricky, "x", "a", "b")


def test_neither_model_is_preferred():
    text = 'sla_ms = 5\ndefault = 1\n[[step]]\naccept = ["*"]\n'
    assert champion_of(schedule_from_toml(text, "x")) is None


names = st.lists(st.sampled_from(["a", "b", "c", "d", "*"]), min_size=1, max_size=5, unique=True)


@given(st.lists(names, min_size=1, max_size=4))
def test_twice_is_as_before(steps):
    text = "sla_ms = 50\ndefault = 1\n"
    for number, accept in enumerate(steps, start=1):
        text += f"[[step]]\nuntil_ms = {number}\naccept = {json.dumps(accept)}\n"
    named = {model for accept in steps for model in accept}
    if not {"a", "b"} <= named:
        return
    once = exchange(text, "x", "a", "b")
    swap = {"a": "b", "b": "a"}
    assert accepts(once) == [[swap.get(model, model) for model in accept] for accept in steps]
    assert exchange(once, "x", "a", "b") == text


@given(st.lists(names, min_size=1, max_size=4))
def test_a_new_one_stands_where_the_champion_stood(steps):
    text = "sla_ms = 50\ndefault = 1\n"
    for accept in steps:
        text += f"[[step]]\nuntil_ms = 9\naccept = {json.dumps(accept)}\n"
    if not any("a" in accept for accept in steps):
        return
    found = accepts(exchange(text, "x", "a", "new"))
    for was, now in zip(steps, found, strict=True):
        if "a" in was:
            assert now[was.index("a")] == "new"
            assert [m for m in now if m not in ("new", "a")] == [m for m in was if m != "a"]
        else:
            assert now == was
