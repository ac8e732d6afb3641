"""Check until when a model's answer is the preferred one."""

from __future__ import annotations

import pytest

from rdv.rendezvous.schedule import schedule_from_object, windows_ms


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        ([(30, ["a"]), (45, ["a", "b"]), (None, ["*"])], {"a": 30, "b": 45}),
        ([(30, ["a"]), (None, ["a", "b"])], {"a": 30}),
        ([(None, ["a", "b"])], {}),
        ([(30, ["a"]), (None, ["a"])], {}),
        ([(20, ["a", "b"]), (None, ["c"])], {"a": 20, "b": 20}),
        ([(20, ["*"]), (None, ["c"])], {}),
        ([(20, ["a", "*"]), (None, ["c"])], {}),
        ([(20, ["b"]), (40, ["a"]), (None, ["a", "b"])], {"b": 20, "a": 40}),
    ],
)
def test_a_models_turn_ends_where_other_models_are_accepted_too(steps, expected) -> None:
    tables = [{"accept": a, **({"until_ms": u} if u else {})} for u, a in steps]
    schedule = schedule_from_object({"sla_ms": 50, "default": 0, "step": tables}, "s")
    assert windows_ms(schedule) == expected
