"""Check how idempotency keys are remembered: limits, shares and time. Without HTTP."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rdv.http import Failure
from rdv.serve.proxy.idempotency import (
    KEY_CHARACTERS_MAX,
    WAITING_MAX,
    IdempotencyKeys,
    IdempotencyLimits,
    KeyState,
    ScopedKey,
    read_id,
    read_key,
)

MS = 1_000_000


def place(key="k", client="a"):
    return ScopedKey(client, "/v1/decide", key)


def repeats(keep_ms=1_000, keys_max=10, bytes_max=1_000_000):
    return IdempotencyKeys(IdempotencyLimits(keep_ms, keys_max, bytes_max))


def test_an_answer_is_kept_for_its_time():
    found = repeats()
    first = found.begin(place(), "f", 0)
    assert found.find(place(), "f", 1) is first
    assert found.answered(first, 200, b"body") == []
    assert found.find(place(), "f", 999 * MS).body == b"body"
    assert found.find(place(), "other", 1).code == "idempotency_key_reused"
    assert found.find(place(client="b"), "f", 1) is None
    assert found.find(place(), "f", 1_000 * MS) is None
    assert (len(found), found.size_bytes) == (0, 0)


@pytest.mark.parametrize("status", [400, 422, 429, 500, 503])
def test_a_refusal_goes_to_all_waiting_repeats_and_is_not_kept(status):
    found = repeats()
    first = found.begin(place(), "f", 0)
    first.waiting.append("a repeat")
    assert found.answered(first, status, b"no") == ["a repeat"]
    assert found.find(place(), "f", 1) is None
    assert found.size_bytes == 0


def test_one_client_leaves_room_for_others():
    found = repeats(keys_max=10)
    taken = [found.begin(place(f"{n}"), "f", 0) for n in range(10)]
    refused = [one for one in taken if isinstance(one, Failure)]
    assert len(refused) == 5
    assert {(one.status, one.code) for one in refused} == {(429, "too_many_idempotency_keys")}
    assert refused[0].headers == ((b"Retry-After", b"1"),)
    assert isinstance(found.begin(place(client="b"), "f", 0), KeyState)
    # No key was evicted.
    assert all(found.find(place(f"{n}"), "f", 1) is taken[n] for n in range(5))


def test_repeats_that_wait_are_bounded():
    found = repeats()
    first = found.begin(place(), "f", 0)
    first.waiting += range(WAITING_MAX)
    assert found.find(place(), "f", 1).status == 429


def test_an_answer_without_room_is_not_given_twice():
    found = repeats(bytes_max=2_000)
    first = found.begin(place(), "f", 0)
    found.answered(first, 200, b"x" * 5_000)
    assert found.size_bytes < 2_000
    assert found.find(place(), "f", 1).code == "answer_not_kept"


steps = st.lists(
    st.tuples(
        st.sampled_from("abc"),
        st.integers(0, 8),
        st.sampled_from(["begin", "answer", "refuse"]),
        st.integers(0, 400),
    ),
    max_size=80,
)


@given(steps)
def test_bounds_hold_and_what_is_known_is_what_was_answered(calls):
    """The model is a dictionary of the answers and the times of their requests."""
    found = repeats(keep_ms=1_000, keys_max=6, bytes_max=5_000)
    now_ns, model = 0, {}
    for client, key, what, size in calls:
        now_ns += size * MS
        where = place(f"{key}", client)
        model = {p: v for p, v in model.items() if v[0] > now_ns - 1_000 * MS}
        known = found.find(where, "f", now_ns)
        assert (known is None) == (where not in model)
        if known is None:
            begun = found.begin(where, "f", now_ns)
            if isinstance(begun, KeyState):
                model[where] = (now_ns, begun, None)
        elif what != "begin" and not isinstance(known, Failure) and not known.status:
            status = 200 if what == "answer" else 422
            found.answered(known, status, b"x" * size)
            if status == 200:
                model[where] = (*model[where][:2], b"x" * size)
            else:
                del model[where]
        elif not isinstance(known, Failure) and known.status:
            assert known.body == model[where][2]
        assert len(found) == len(model) <= 6
        assert 0 <= found.size_bytes <= 5_000 + 800
        assert sum(found._bytes.values()) == found.size_bytes
        assert found._counts.keys() == {p.client for p in model} == found._bytes.keys()


@pytest.mark.parametrize(
    ("raw", "key"),
    [
        (b'"8e03978e-40d5-43dd-bc93-6894a57f9324"', "8e03978e-40d5-43dd-bc93-6894a57f9324"),
        (b"8e03978e-40d5-43dd-bc93-6894a57f9324", "8e03978e-40d5-43dd-bc93-6894a57f9324"),
        (b"YWJj==", "YWJj=="),
        (b'"with space"', "with space"),
        (b'"a\\"b\\\\c"', 'a"b\\c'),
        (b"k" * KEY_CHARACTERS_MAX, "k" * KEY_CHARACTERS_MAX),
        (b"k" * (KEY_CHARACTERS_MAX + 1), None),
        (b"", None),
        (b'""', None),
        (b'"open', None),
        (b'a"b', None),
        (b"one, two", None),
        (b'"one", "two"', None),
        (b'"k";p=1', None),
        (b'"\\x"', None),
        (b'"\xc3\xa4"', None),
        (b"\xff", None),
    ],
)
def test_keys_are_strings_of_structured_fields_or_bare(raw, key):
    found = read_key(raw)
    assert found == key if key is not None else found.code == "invalid_idempotency_key"


@given(st.text(st.characters(min_codepoint=32, max_codepoint=126), min_size=1, max_size=255))
def test_every_string_can_be_a_key(text):
    quoted = text.replace("\\", "\\\\").replace('"', '\\"')
    assert read_key(f'"{quoted}"'.encode()) == text


@given(st.binary(max_size=200))
def test_any_bytes_are_an_id_or_refused(raw):
    found = read_id(raw)
    is_fine = 0 < len(raw) <= 128 and all(33 <= byte <= 126 for byte in raw)
    assert found == raw.decode() if is_fine else found.code == "invalid_request_id"
    assert read_id(None) == ""
