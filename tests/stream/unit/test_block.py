"""Check blocks of records, and the columns of the index entries that they come from."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rdv.stream import Record
from rdv.stream.file import entry as entries
from rdv.stream.record import Block, records_of

numbers = st.integers(0, 2**32 - 1)
values = st.lists(st.binary(max_size=9), min_size=1, max_size=9)


@given(values)
def test_a_block_says_what_its_records_say(found):
    records = [Record("t", 3, 10 + 2 * n, 7 * n, value) for n, value in enumerate(found)]
    block = Block.of(records)
    assert len(block) == len(records)
    assert block.records() == records
    assert block.values() == [block.value(n) for n in range(len(block))] == found
    assert block.data == b"".join(found)
    assert records_of([block, block]) == records * 2


@pytest.mark.parametrize("is_little", [True, False])
@given(
    st.lists(
        st.tuples(st.integers(0, 2**64 - 1), st.integers(-(2**63), 2**63 - 1), numbers, numbers,
                  st.integers(0, 7)),
        min_size=1, max_size=5,
    )
)  # fmt: skip
def test_columns_are_the_entries_field_by_field(is_little, found):
    data = b"".join(entries.FORMAT_1.pack(0, *fields) for fields in found)
    before, entries._IS_LITTLE = entries._IS_LITTLE, is_little and entries._IS_LITTLE
    try:
        columns = entries.unpack_columns(data)
    finally:
        entries._IS_LITTLE = before
    assert [tuple(column) for column in columns] == list(zip(*found, strict=True))
    assert entries.last_flags(data) == found[-1][-1]
