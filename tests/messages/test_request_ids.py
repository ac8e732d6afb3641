"""Ids of requests."""

from __future__ import annotations

import itertools

import pytest

from rdv.messages import make_request_id, request_ids


def test_128_bits_in_hex_and_in_order() -> None:
    ids = list(itertools.islice(request_ids(b"0123456789", start=255), 3))
    assert ids[0] == make_request_id(b"0123456789", 255) == "303132333435363738390000000000ff"
    assert ids == sorted(ids)
    assert {len(id_) for id_ in ids} == {32}


def test_two_proxies_share_none() -> None:
    first = set(itertools.islice(request_ids(b"a" * 10), 100))
    assert first.isdisjoint(itertools.islice(request_ids(b"b" * 10), 100))


@pytest.mark.parametrize(("prefix", "number"), [(b"short", 0), (b"a" * 10, -1), (b"a" * 10, 2**48)])
def test_what_does_not_fit_is_refused(prefix, number) -> None:
    with pytest.raises(ValueError):
        make_request_id(prefix, number)
