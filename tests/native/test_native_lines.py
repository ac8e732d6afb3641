"""Check whether a block consists of lines, and the score lines of a batch."""

from __future__ import annotations

from itertools import accumulate

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from native_kit import quick

from rdv.native import ASCII_LINES, NO_LINES, OTHER_LINES
from rdv.rendezvous.messages import Score, decode_score
from rdv.rendezvous.messages import score as scores
from rdv.rendezvous.messages.score import ResultLines
from rdv.serve import batches
from rdv.serve.batches import SCORES, is_by_line
from rdv.stream.backend import EMPTY
from rdv.stream.record import Block

piece = st.one_of(
    st.sampled_from(
        [b"", b"\n", b"a\n", b"a", b"\n\n", b"a\nb\n", b"\xff\n", "é\n".encode(), b"\r"]
    ),
    st.binary(max_size=20).map(lambda data: data.replace(b"\n", b"") + b"\n"),
    st.text(max_size=20).map(lambda text: text.replace("\n", "").encode() + b"\n"),
    st.integers(1, 40).map(lambda size: b"x" * size + b"\n"),
)


def block_of(values):
    data, stops = b"".join(values), list(accumulate(map(len, values)))
    return Block("t", 0, range(len(values)), [1] * len(values), stops, data)


def is_line(value):
    return value.endswith(b"\n") and value.count(b"\n") == 1


@quick
@given(st.lists(piece, max_size=12))
@example([b"x" * 15 + b"\x80", b"\n"])
@example([])
def test_lines_are_found_as_they_are_defined(native, values):
    block = block_of(values)
    wanted = NO_LINES
    if all(map(is_line, values)):
        wanted = ASCII_LINES if block.data.isascii() else OTHER_LINES
    assert native.lines(block.data, block.stops) == wanted


@pytest.mark.parametrize("at", range(40))
def test_a_byte_that_is_not_ascii_is_seen_wherever_it_is(native, at):
    data = bytearray(b"." * 40 + b"\n")
    assert native.lines(bytes(data), [41]) == ASCII_LINES
    for byte in (0x80, 0xFF):
        data[at] = byte
        assert native.lines(bytes(data), [41]) == OTHER_LINES
    data[at] = 0
    assert native.lines(bytes(data), [41]) == ASCII_LINES


@given(st.binary(max_size=12), st.lists(st.integers(-3, 15), max_size=5))
@quick
def test_stops_that_are_none_are_no_lines(native, data, stops):
    """The stops may not ascend, lie beyond the end, or fall short of it."""
    values = [data[first:stop] for first, stop in zip([0, *stops], stops, strict=False)]
    is_sound = stops == sorted(stops) and (stops[-1] if stops else 0) == len(data)
    is_sound = is_sound and all(map(is_line, values)) and all(stop > 0 for stop in stops)
    assert bool(native.lines(data, stops)) == is_sound


@pytest.mark.parametrize("is_native", [True, False])
def test_blocks_of_lines_are_reported_alike_without_the_extension(native, monkeypatch, is_native):
    if not is_native:
        monkeypatch.setattr(batches, "NATIVE", None)

    @quick
    @given(st.lists(piece, max_size=12))
    @example([b"\n", b"\n"])
    @example([])
    def check(values):
        block = block_of(values)
        wanted = all(map(is_line, values))
        try:
            block.data.decode()
        except UnicodeDecodeError:
            if wanted:
                with pytest.raises(UnicodeDecodeError):
                    is_by_line(block)
                return
        assert is_by_line(block) == wanted

    check()


@pytest.mark.parametrize("is_native", [True, False])
def test_nothing_is_read_as_nothing(monkeypatch, is_native):
    if not is_native:
        monkeypatch.setattr(batches, "NATIVE", None)
    assert SCORES.read(EMPTY) == []
    assert SCORES.read(block_of([])) == []


nasty = st.one_of(
    st.text(min_size=1, max_size=64),
    st.text('ab0-"\\/\x00\x1f\x20\x7e\x7f\x80é\u2028😀\n', min_size=1, max_size=12),
    st.uuids().map(str),
)
result = st.sampled_from([b"1", b"null", b'{"p":0.5}', b'"\xc3\xa9"', b"[1, 2]", b'""'])


@pytest.mark.parametrize("is_native", [True, False])
def test_score_lines_say_what_was_said(native, monkeypatch, is_native):
    if not is_native:
        monkeypatch.setattr(scores, "NATIVE", None)

    @quick
    @given(st.lists(st.tuples(nasty, result, st.sampled_from([0.0, 1.5, 1e-9, 1e22])), max_size=7))
    @example([("plain", b"1", 0.0), ('"},{', b"1", 0.0)])
    @example([("\x7f", b"1", 0.0)])
    def check(rows):
        same = ResultLines('m"', "1", 17, 2.25, len(rows))
        lines = same.lines(
            [id_ for id_, _, _ in rows],
            [same.after(queue_ms) for _, _, queue_ms in rows],
            [text for _, text, _ in rows],
        )
        assert all(map(is_line, lines))
        assert [decode_score(line) for line in lines] == [
            Score(id_, 'm"', "1", 17, queue_ms, 2.25, len(rows), msgspec.Raw(text))
            for id_, text, queue_ms in rows
        ]

    check()


@quick
@given(st.lists(nasty, max_size=6))
def test_the_extension_writes_the_ids_that_need_no_care(native, ids):
    found = native.score_lines(ids, [b",m"] * len(ids), [b"r"] * len(ids))
    is_plain = all(0x20 <= ord(c) < 0x7F and c not in '"\\' for id_ in ids for c in id_)
    wanted = [b'{"v":1,"id":%b,mr}\n' % msgspec.json.encode(id_) for id_ in ids]
    assert found == (wanted if is_plain else None)
