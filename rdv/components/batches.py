"""Messages by the batch: one call of the JSON library for many lines, where that is safe.

Lines are joined and read in one go when each of them is surely one line; anything else, and
anything that does not decode, is read line by line, so that one bad record spoils nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from operator import methodcaller
from typing import Generic, TypeVar

import msgspec

from rdv.messages import (
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
from rdv.messages.score import validate_score
from rdv.stream import Record

_M = TypeVar("_M", bound=msgspec.Struct)
_is_line = methodcaller("endswith", b"\n")
_encode_lines = msgspec.json.Encoder().encode_lines


class Batches(Generic[_M]):
    """Reads and writes batches of one kind of message. Thread-safe."""

    def __init__(
        self, kind: type[_M], decode: Callable[[bytes], _M], encode: Callable[[_M], bytes]
    ) -> None:
        self._decode_lines = msgspec.json.Decoder(kind).decode_lines
        self._decode, self._encode = decode, encode

    def read(self, records: Sequence[Record]) -> list[_M | None]:
        """A message for each record, None for what is not one."""
        if len(records) > 1:
            values = [record.value for record in records]
            blob = b"".join(values)
            # Every value ends in a line break, and there are no more: one line each.
            if blob.count(b"\n") == len(values) and all(map(_is_line, values)):
                try:
                    if not blob.isascii():
                        blob.decode()
                    messages: list[_M | None] = self._decode_lines(blob)  # type: ignore[assignment]
                    if len(messages) == len(records):  # blank lines are passed over
                        return messages
                except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
                    pass
        return [self._read(record.value) for record in records]

    def _read(self, value: bytes) -> _M | None:
        try:
            return self._decode(value)
        except MalformedMessage:
            return None

    def write(self, messages: Sequence[_M]) -> list[bytes]:
        """A line for each message."""
        if len(messages) > 1:
            lines = _encode_lines(messages).splitlines(keepends=True)
            if len(lines) == len(messages):  # a body may have come pretty-printed
                return lines
        return [self._encode(message) for message in messages]


class ScoreBatches(Batches[Score]):
    """Scores that do not have exactly one outcome are none."""

    def read(self, records: Sequence[Record]) -> list[Score | None]:
        scores = super().read(records)
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
