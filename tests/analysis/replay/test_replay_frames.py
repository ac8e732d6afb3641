"""Check that batches and outcomes of any bytes arrive as they were sent."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rdv.analysis.replay.child import (
    ERROR,
    HEAD,
    NOTHING,
    RESULT,
    outcomes_size,
    pack,
    pack_outcomes,
    pack_rows,
    rows_size,
    split_rows,
    unpack_outcomes,
)
from rdv.models import ModelError, evaluate

quick = settings(derandomize=True, deadline=None)


@quick
@given(st.lists(st.binary(max_size=9), min_size=1, max_size=9))
def test_rows_come_as_they_were_sent(rows):
    frame = pack_rows(rows)
    count, size_bytes = HEAD.unpack_from(frame)
    assert len(frame) == HEAD.size + rows_size(count, size_bytes)
    assert split_rows(count, frame[HEAD.size :]) == rows


outcomes = st.lists(st.tuples(st.integers(0, 2), st.binary(max_size=9)), min_size=1, max_size=9)


@quick
@given(st.lists(outcomes, min_size=1, max_size=4), st.integers(0, 2**63))
def test_outcomes_come_as_they_were_sent(batches, took_ns):
    frames = [
        pack_outcomes(bytes(code for code, _ in batch), [text for _, text in batch], took_ns)
        for batch in batches
    ]
    data, at = b"".join(frames), 0
    for batch, frame in zip(batches, frames, strict=True):
        # Nothing is returned until the frame is complete.
        assert outcomes_size(data[: at + len(frame) - 1], at) == 0
        size = outcomes_size(data, at)
        found = unpack_outcomes(data[at : at + size])
        assert list(zip(found.codes, found.texts, strict=True)) == batch
        assert found.took_ns == took_ns
        at += size
    assert at == len(data)
    assert outcomes_size(data, at) == 0


class Echo:
    version = "1"

    def __init__(self, takes):
        self.takes = takes
        self.calls = []

    def predict(self, rows, again=None):
        self.calls.append(rows)
        return [json.dumps(row).encode() if self.takes == "values" else row for row in rows]


def evaluated(model, rows):
    frame = pack_rows(rows)
    return evaluate(model, split_rows(len(rows), frame[HEAD.size :]))


@quick
@given(st.lists(st.integers() | st.lists(st.integers(0, 9), max_size=3), min_size=1, max_size=9))
def test_values_are_parsed_in_one_go(values):
    values = [value if isinstance(value, list) else value % 2**53 for value in values]
    model = Echo("values")
    rows = [json.dumps(value).encode() for value in values]
    assert [json.loads(found) for found in evaluated(model, rows)] == values
    assert model.calls == [values]
    model = Echo("data")
    assert evaluated(model, rows) == rows


@pytest.mark.parametrize("bad", [b"{", b"1,2", b"", b"]["])
def test_a_row_that_is_no_json_spoils_no_other(bad):
    found = evaluated(Echo("values"), [b"1", bad, b"[2]"])
    assert (found[0], found[2]) == (b"1", b"[2]")
    assert "is not JSON" in str(found[1])


def test_every_kind_of_outcome():
    found = unpack_outcomes(pack([b"1", None, ModelError("no such luck"), b""], 7))
    assert list(found.codes) == [RESULT, NOTHING, ERROR, RESULT]
    assert found.texts == [b"1", b"", b"no such luck", b""]
    assert found.took_ns == 7
