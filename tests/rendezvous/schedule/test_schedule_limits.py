"""Check the limits of SLAs and of inline schedules; an error names what is beyond."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rdv.rendezvous.schedule import (
    INLINE_BYTES_MAX,
    SLA_MS_MAX,
    InvalidSchedule,
    inline_text,
    read_inline,
    schedule_from_object,
    schedule_from_toml,
    windows_ms,
)
from rdv.rendezvous.schedule.model import ACCEPT_MAX, OTHERS, RECORDED_SLA_MS_MAX, STEPS_MAX


def plain(sla_ms=50, **changes):
    return {"sla_ms": sla_ms, "default": 0, "step": [{"accept": ["a"]}], **changes}


@pytest.mark.parametrize("sla_ms", [SLA_MS_MAX + 1, 60_000.001, 90_000, 3_600_000])
def test_a_longer_sla_is_refused_by_name_wherever_a_schedule_is_read(sla_ms) -> None:
    text = f'sla_ms = {sla_ms}\n[[step]]\naccept = ["a"]\n'
    for read in (
        lambda: schedule_from_object(plain(sla_ms)),
        lambda: schedule_from_toml(text, "long", "schedules/long.toml"),
        lambda: read_inline(plain(sla_ms), inline_text(plain(sla_ms))),
    ):
        with pytest.raises(InvalidSchedule) as refused:
            read()
        assert refused.value.key == "sla_ms"
        assert "60,000 ms, the longest SLA" in refused.value.text()


def test_the_longest_sla_is_allowed() -> None:
    assert schedule_from_object(plain(SLA_MS_MAX)).sla_ms == SLA_MS_MAX


def test_an_old_log_may_hold_a_longer_one() -> None:
    found = schedule_from_object(plain(90_000), sla_ms_max=RECORDED_SLA_MS_MAX)
    assert found.sla_ms == 90_000


@pytest.mark.parametrize(
    ("changes", "key", "words"),
    [
        ({"step": [{"accept": ["a"]}] * (STEPS_MAX + 1)}, "step", "65 steps"),
        ({"step": [{"accept": ["a"] * (ACCEPT_MAX + 1)}]}, "step[1].accept", "257 names"),
        ({"step": [{"accept": ["a", "b", "a"]}]}, "step[1].accept", "names 'a' twice"),
        ({"k" * 5000: 1}, "k" * 100, "no such key"),
        ({"step": [{"accept": ["a"], "combine": " - at `$.x" * 500}]}, "step[1].combine", "there"),
        ({"default": 2**70}, "default", "is not JSON"),
    ],
)
def test_what_is_beyond_a_limit_is_named_briefly(changes, key, words) -> None:
    with pytest.raises(InvalidSchedule) as refused:
        schedule_from_object(plain(**changes))
    assert refused.value.key == key
    assert words in refused.value.text()
    assert len(refused.value.text()) < 500


def test_an_inline_schedule_has_a_size() -> None:
    for size, is_allowed in ((INLINE_BYTES_MAX, True), (INLINE_BYTES_MAX + 1, False)):
        wanted = plain(default="")
        wanted["default"] = "x" * (size - len(inline_text(wanted)))
        text = inline_text(wanted)
        assert len(text) == size
        if is_allowed:
            assert read_inline(wanted, text).default == wanted["default"]
        else:
            with pytest.raises(InvalidSchedule, match="65,537 bytes are more than 65,536"):
                read_inline(wanted, text)


names = st.lists(st.sampled_from(["a", "b", "c", OTHERS]), min_size=1, max_size=4, unique=True)


@settings(max_examples=200)
@given(st.lists(names, min_size=1, max_size=6))
def test_a_models_turn_ends_with_the_first_step_that_accepts_another(accepts) -> None:
    """The result is compared with the definition, step by step."""
    ends = [10.0 * n for n in range(1, len(accepts) + 1)]
    steps = [{"accept": a, "until_ms": e} for a, e in zip(accepts, ends, strict=True)]
    schedule = schedule_from_object(plain(ends[-1], step=steps))
    expected = {}
    for number, accept in enumerate(accepts):
        later = set(itertools.chain.from_iterable(accepts[number + 1 :]))
        ends_turn = OTHERS not in accept and not later <= set(accept)
        for name in accept:
            expected.setdefault(name, ends[number] if ends_turn else ends[-1])
    wanted = {n: e for n, e in expected.items() if n != OTHERS and e < ends[-1]}
    assert windows_ms(schedule) == wanted
    assert list(windows_ms(schedule)) == list(wanted)
