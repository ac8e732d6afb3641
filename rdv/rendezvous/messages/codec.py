"""What all messages share: their fields' limits, request ids, reading and writing lines, errors.

Request ids are 128 random bits, as 32 hex digits; the caller passes the randomness. An id cannot be
guessed: a process that knows an id may report the request's outcome. Hex is used rather than base64
because it can be double-clicked and grepped, and never begins with a dash on a command line.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Literal, Protocol, Self, TypeVar

import msgspec

from rdv.errors import DataFault, InputFault

Noun = Literal["request", "score", "result", "outcome"]

_EXCERPT_BYTES = 120


Id = Annotated[str, msgspec.Meta(min_length=1, max_length=64)]

Name = Annotated[str, msgspec.Meta(min_length=1, max_length=128)]

TimeNs = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]

SCHEMA_VERSION = 1
"""The value of `v` in every message. msgspec writes and checks it as the struct's tag, which costs
no field. A reader takes a message without `v` for this version, and refuses any other than this."""

_encode = msgspec.json.Encoder().encode

_LF, _CR = b"\n\r"

_M_co = TypeVar("_M_co", covariant=True)

ID_BYTES = 16

BLOCK_IDS = 256
"""How many ids are made of one draw: the system's generator costs a system call."""

PREFIX_BYTES = 10

_NUMBER_MAX = 2**48 - 1


class MalformedMessage(DataFault):
    """A record is not the message that it should be. `line` is the record's bytes."""

    noun: Noun
    reason: str
    line: bytes

    def text(self) -> str:
        return f"malformed {self.noun}: {self.reason}: {self.excerpt()}"

    def excerpt(self) -> str:
        """Return the beginning of the line, safe to print."""
        shown = self.line[:_EXCERPT_BYTES].decode("utf-8", "backslashreplace").strip()
        more = "…" if len(self.line) > _EXCERPT_BYTES else ""
        return f"{shown!r}{more}"


class InvalidModelResult(InputFault):
    """A model's return value cannot be sent as its result. `where` is the place inside of it."""

    where: str
    reason: str

    _text = "the model's {where} {reason}"
    _hint = "A result is JSON: numbers (finite), strings, lists, objects, numpy arrays of them."


class Decoder(Protocol[_M_co]):
    """A `Decoder` is the part of `msgspec.json.Decoder` that is needed here."""

    def decode(self, line: bytes, /) -> _M_co: ...


def encode_line(message: msgspec.Struct) -> bytes:
    r"""Encode a message as one line of JSON that ends in "\n"."""
    return one_line(_encode(message)) + b"\n"


def one_line(text: bytes) -> bytes:
    r"""Return JSON text with a space for each "\n" and "\r", so that every reader sees one line.

    A body that a client pretty-printed has line breaks. In valid JSON they can only stand between
    tokens, so the values stay the same and nothing has to be parsed.
    """
    if _LF in text:  # searching for a number takes a quarter of the time of searching for bytes
        text = text.replace(b"\n", b" ")
    if _CR in text:
        text = text.replace(b"\r", b" ")
    return text


def decode_line(decoder: Decoder[_M_co], noun: Noun, line: bytes) -> _M_co:
    """Read one line, with or without its line break. Raises MalformedMessage.

    msgspec does not check the text inside a Raw field, so the line's UTF-8 is checked here;
    otherwise one bad byte of a model would reach a client.
    """
    try:
        if not line.isascii():
            line.decode()
        return decoder.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        reason = str(error)
        if reason.endswith("`$.v`"):
            reason = f"its schema version (`v`) is not {SCHEMA_VERSION}"
        raise MalformedMessage(noun, reason, bytes(line)) from error
    except RecursionError as error:
        raise MalformedMessage(noun, "nested too deeply", bytes(line)) from error


class RequestIds:
    """A `RequestIds` yields ids without end, made of `draw(n)`, which returns n random bytes.

    One thread at a time. Ids are drawn ahead: after a fork, call `forget` in the child, which would
    repeat the parent's ids otherwise.
    """

    __slots__ = ("_draw", "_ready")

    def __init__(self, draw: Callable[[int], bytes]) -> None:
        self._draw = draw
        self._ready: list[str] = []

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> str:
        if not self._ready:
            digits = self._draw(ID_BYTES * BLOCK_IDS).hex()
            width = 2 * ID_BYTES
            self._ready = [digits[at : at + width] for at in range(0, len(digits), width)]
        return self._ready.pop()

    def forget(self) -> None:
        """Drop the ids that have been drawn ahead."""
        self._ready.clear()


def make_request_id(prefix: bytes, number: int) -> str:
    """Return a predictable id for generated logs, as rdv 0.1.0 made them; a proxy never uses it.

    Raises ValueError when the prefix has not PREFIX_BYTES bytes or the number not 48 bits.
    """
    if len(prefix) != PREFIX_BYTES:
        raise ValueError(f"a prefix has {PREFIX_BYTES} bytes, not {len(prefix)}")
    if not 0 <= number <= _NUMBER_MAX:
        raise ValueError(f"{number} is not between 0 and {_NUMBER_MAX}")
    return f"{prefix.hex()}{number:012x}"
