"""Decodes and encodes messages in batches: one JSON call for many lines, where that is safe.

A block is decoded in one call when each of its values is exactly one line. Anything else, and
anything that does not decode, is read line by line, so that one bad record affects no other.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

import msgspec

from rdv.native import NATIVE, NO_LINES, OTHER_LINES
from rdv.rendezvous.messages import (
    MalformedMessage,
    Request,
    Result,
    Score,
    decode_request,
    decode_result,
    decode_score,
    encode_request,
    encode_result,
    encode_score,
)
from rdv.rendezvous.messages.score import validate_score
from rdv.stream import Block

_M = TypeVar("_M", bound=msgspec.Struct)
_encode_lines = msgspec.json.Encoder().encode_lines


def is_by_line(block: Block) -> bool:
    """Return whether each value is exactly one line, so that one call can decode all of them.

    Raises UnicodeDecodeError.
    """
    data, stops = block.data, block.stops
    if NATIVE is not None and type(stops) is list:
        found = NATIVE.lines(data, stops)
        if found == OTHER_LINES:
            data.decode()
        return found != NO_LINES
    count = len(stops)
    if not count:
        return not data
    if len(data) != stops[-1] or 0 in stops:
        return False
    # No value is empty, each ends in a line break, and there are no other line breaks.
    lasts = [stop - 1 for stop in stops]
    if bytes(map(data.__getitem__, lasts)) != b"\n" * count:
        return False
    if not data.count(b"\n") == count == len(set(lasts)):
        return False
    if not data.isascii():
        data.decode()
    return True


class Batches(Generic[_M]):
    """Reads and writes batches of one kind of message. Thread-safe."""

    def __init__(
        self, kind: type[_M], decode: Callable[[bytes], _M], encode: Callable[[_M], bytes]
    ) -> None:
        self._decode_lines = msgspec.json.Decoder(kind).decode_lines
        self._decode, self._encode = decode, encode

    def read(self, block: Block) -> list[_M | None]:
        """Return a message for each record, None for an invalid one."""
        count, data = len(block), block.data
        if count == 1:
            return [self._read(data)]
        try:
            if is_by_line(block):
                messages: list[_M | None] = self._decode_lines(data)  # type: ignore[assignment]
                if len(messages) == count:  # blank lines are skipped
                    return messages
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            pass
        return [self._read(value) for value in block.values()]

    def _read(self, value: bytes) -> _M | None:
        try:
            return self._decode(value)
        except MalformedMessage:
            return None

    def write(self, messages: Sequence[_M]) -> list[bytes]:
        """Return a line for each message."""
        if len(messages) > 1:
            lines = _encode_lines(messages).splitlines(keepends=True)
            # More lines than messages: a body has a line break or a carriage return, which `encode`
            # replaces.
            if len(lines) == len(messages):
                return lines
        return [self._encode(message) for message in messages]


class ScoreBatches(Batches[Score]):
    """Also treats scores that do not have exactly one outcome as invalid."""

    def read(self, block: Block) -> list[Score | None]:
        scores = super().read(block)
        for number, score in enumerate(scores):
            if (
                score is not None
                and (score.error is not None or score.refusal or score.result is msgspec.UNSET)
                and validate_score(score)
            ):
                scores[number] = None
        return scores


REQUESTS = Batches(Request, decode_request, encode_request)
SCORES = ScoreBatches(Score, decode_score, encode_score)
RESULTS = Batches(Result, decode_result, encode_result)
