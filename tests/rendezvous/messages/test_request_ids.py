"""Check the ids of requests."""

from __future__ import annotations

import itertools
import os
import random

import pytest

from rdv.rendezvous.messages import RequestIds, make_request_id
from rdv.rendezvous.messages.codec import BLOCK_IDS, ID_BYTES


def take(ids, count):
    return list(itertools.islice(ids, count))


def test_128_bits_in_hex() -> None:
    ids = take(RequestIds(os.urandom), 3 * BLOCK_IDS)
    assert len(set(ids)) == len(ids)
    for id_ in ids:
        assert len(id_) == 32
        assert bytes.fromhex(id_).hex() == id_


def test_every_bit_is_drawn_and_none_of_them_twice() -> None:
    """All bits of an id come from the source: no part follows from another id."""
    drawn = b""

    def draw(size):
        nonlocal drawn
        new = random.Random(len(drawn)).randbytes(size)
        drawn += new
        return new

    ids = take(RequestIds(draw), 3 * BLOCK_IDS)
    assert len(drawn) == 3 * BLOCK_IDS * ID_BYTES
    assert sorted(ids) == sorted(drawn[n : n + 16].hex() for n in range(0, len(drawn), 16))


def test_the_same_source_gives_the_same_ids() -> None:
    first, second = (RequestIds(random.Random(7).randbytes) for _ in range(2))
    assert take(first, 600) == take(second, 600)


def test_what_was_drawn_ahead_can_be_forgotten() -> None:
    seed = random.Random(7)
    ids = RequestIds(seed.randbytes)
    first = next(ids)
    ids.forget()
    ahead = RequestIds(random.Random(7).randbytes)
    assert set(take(ids, 600)).isdisjoint(take(ahead, BLOCK_IDS))
    assert first not in take(ids, 600)


@pytest.mark.parametrize(("prefix", "number"), [(b"short", 0), (b"a" * 10, -1), (b"a" * 10, 2**48)])
def test_what_does_not_fit_is_refused(prefix, number) -> None:
    assert make_request_id(b"0123456789", 255) == "303132333435363738390000000000ff"
    with pytest.raises(ValueError):
        make_request_id(prefix, number)
