"""The interface of a protocol's codec, and what several of them need."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, NamedTuple

import msgspec

from rdv.models.batch import check_result, encode_result
from rdv.models.model import ModelError, Outcome, one_line, shortened
from rdv.models.remote.settings import Settings

TEXT_CHARACTERS_MAX = 300
BEGINNING_BYTES = 60
"""How much of an answer that is not JSON is shown."""
_ERROR_KEYS = ("error", "message", "detail", "error_message", "title")


class BadAnswer(Exception):
    """The server's answer is not one of its protocol."""


class BadRows(Exception):
    """At least one of the rows cannot be sent in this protocol; the text says why."""


class Answers(NamedTuple):
    """Holds one outcome for each row, and the model's version; empty where it is not said."""

    outcomes: list[Outcome]
    version: str = ""


class Codec(ABC):
    """Writes requests and reads answers for one model. For one thread."""

    needs_metadata = False
    """Whether `learn` has to be called before `body`."""
    metadata_path = ""
    """The path that says the model's version; empty where there is none."""
    health_path = ""
    """The path that says whether the server is there; empty where there is none."""
    path = ""
    """The path that rows are sent to."""

    def __init__(self, model: str, settings: Settings, result_bytes_max: int) -> None:
        self._model = model
        self._settings = settings
        self._bytes_max = result_bytes_max

    @abstractmethod
    def body(self, rows: Sequence[bytes]) -> bytes:
        """Return the body that asks for these rows, each the JSON of its data. Raises BadRows."""

    @abstractmethod
    def read(self, body: bytes, count: int) -> Answers:
        """Return the outcomes of `count` rows. Raises BadAnswer."""

    def learn(self, body: bytes) -> str:
        """Learn from the answer of `metadata_path`; return the version. Raises BadAnswer."""
        del body
        return ""

    def encoded(self, values: Sequence[Any]) -> list[Outcome]:
        """Return plain values as the outcomes of the rows."""
        key = self._settings.result_key
        made: list[Outcome] = []
        for value in values:
            if key and not isinstance(value, dict) and value is not None:
                value = {key: value}  # noqa: PLW2901
            made.append(encode_result(value, self._bytes_max))
        return made

    def checked(self, texts: Sequence[msgspec.Raw]) -> list[Outcome]:
        """Return the JSON that the server has written as the outcomes of the rows."""
        key = self._settings.result_key
        made: list[Outcome] = []
        for raw in texts:
            text = bytes(raw)
            if key and not text.lstrip().startswith((b"{", b"null")):
                text = b"{%b:%b}" % (msgspec.json.encode(key), text)
            made.append(check_result(text, self._bytes_max))
        return made


def decode(body: bytes | msgspec.Raw, kind: Any) -> Any:
    """Decode JSON. Raises BadAnswer, but ValueError for the NaN that Python's json writes."""
    try:
        return msgspec.json.decode(body, type=kind)
    except (msgspec.DecodeError, RecursionError) as error:
        if any(word in bytes(body) for word in (b"NaN", b"Infinity")):
            raise ValueError from None
        raise unreadable(body, error) from None


def decode_with_nan(body: bytes) -> Any:
    """Decode JSON with NaN and Infinity, which are no JSON. Raises BadAnswer."""
    try:
        return json.loads(body)
    except (ValueError, RecursionError) as error:
        raise unreadable(body, error) from None


def unreadable(body: bytes | msgspec.Raw, error: Exception) -> BadAnswer:
    """Return the error for an answer that is not JSON, or not of the protocol's form."""
    if not bytes(body).strip():
        return BadAnswer("its answer is empty")
    if isinstance(error, msgspec.ValidationError):
        return BadAnswer(f"its answer cannot be read: {error}")
    begins = bytes(body[:BEGINNING_BYTES]).decode("utf-8", "replace")
    return BadAnswer(f"its answer is not JSON, it begins with {one_line(begins)!r}: {error}")


def need_count(found: int, count: int) -> None:
    """Check the number of predictions. Raises BadAnswer."""
    if found != count:
        raise BadAnswer(f"it gave {found} prediction{'s' * (found != 1)} for {count} rows")


def failed(count: int, reason: str) -> list[Outcome]:
    """Return the same error for all rows."""
    return [ModelError(shortened(reason), "result")] * count


def error_text(body: bytes) -> str:
    """Return what the server says about an error, as one line of bounded length."""
    text = body[: 16 * TEXT_CHARACTERS_MAX].decode("utf-8", "replace")
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        value = None
    if isinstance(value, dict):
        for key in _ERROR_KEYS:
            if found := value.get(key):
                text = found if isinstance(found, str) else json.dumps(found)
                break
    line = one_line(text)
    return line if len(line) <= TEXT_CHARACTERS_MAX else line[: TEXT_CHARACTERS_MAX - 1] + "…"
