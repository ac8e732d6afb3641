"""Check from where on a worker's successor reads: the first request that still waits."""

from __future__ import annotations

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from rdv.rendezvous.backlog import Waiting
from rdv.rendezvous.messages import Request
from rdv.serve.worker.requests import _first_offsets
from rdv.stream import Block

REQUEST = Request("0" * 32, 0, "h", 0, "p", msgspec.Raw(b"1"))
BLOCKS = [
    Block("p-1", partition, range(start, start + 4), [0] * 4, [1, 2, 3, 4], b"1234")
    for partition in (0, 1)
    for start in (0, 4, 8)
]


@settings(derandomize=True, deadline=None, max_examples=60, database=None)
@given(st.lists(st.tuples(st.sampled_from(range(6)), st.integers(0, 3)), max_size=12))
def test_in_any_order_of_blocks_and_records(places):
    waiting = [Waiting(REQUEST, BLOCKS[block], number, 0, 0) for block, number in places]
    expected: dict = {}
    for one in waiting:
        offset = one.block.offsets[one.number]
        expected[one.place] = min(offset, expected.get(one.place, offset))
    assert _first_offsets(waiting) == expected
