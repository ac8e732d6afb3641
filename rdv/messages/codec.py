"""The messages share their fields' limits, and the functions that write and read lines."""

from __future__ import annotations

from typing import Annotated, Protocol, TypeVar

import msgspec

from rdv.messages.errors import MalformedMessage, Noun

Id = Annotated[str, msgspec.Meta(min_length=1, max_length=64)]
Name = Annotated[str, msgspec.Meta(min_length=1, max_length=128)]
TimeNs = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]

SCHEMA_VERSION = 1
"""The value of `v` in every message. msgspec writes and checks it as the struct's tag, which costs
no field. A reader takes a message without `v` for this version, and refuses any other than this."""

_encode = msgspec.json.Encoder().encode

_LF, _CR = b"\n\r"

_M_co = TypeVar("_M_co", covariant=True)


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
