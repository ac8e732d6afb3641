"""Writes and reads the lines that are exchanged with a command. Pure."""

from __future__ import annotations

import msgspec
from msgspec import UNSET, UnsetType

from rdv.messages import one_line
from rdv.models.encoding import check_result
from rdv.models.errors import ModelError, shortened

ENVELOPE_BYTES = 4096
"""The maximum bytes of an answer's line beyond its result: an id, an error text."""


class Garbage(Exception):
    """The command has written something that is not an answer to an open question."""


class Answer(msgspec.Struct, gc=False):
    """Describes one line of a command. Unknown fields are ignored."""

    id: int
    result: msgspec.Raw | UnsetType = UNSET
    error: str | None = None


_DECODER = msgspec.json.Decoder(Answer)


def question(number: int, data: bytes) -> bytes:
    """Return the line that asks for a row; line breaks in pretty-printed data become spaces."""
    return b'{"id":%d,"data":%b}\n' % (number, one_line(data))


def read_answer(line: bytes, bytes_max: int) -> tuple[int, bytes | ModelError]:
    """Return the number of the row and its outcome. Raises Garbage."""
    try:
        answer = _DECODER.decode(line)
    except (msgspec.DecodeError, RecursionError) as error:
        shown = line[:80].decode("utf-8", "backslashreplace")
        raise Garbage(shortened(f"it wrote {shown!r}: {error}")) from None
    if answer.error is not None:
        return answer.id, ModelError(shortened(answer.error) or "an error without a text")
    if isinstance(answer.result, UnsetType):
        raise Garbage(f"its answer to {answer.id} has neither a result nor an error")
    return answer.id, check_result(bytes(answer.result), bytes_max)
