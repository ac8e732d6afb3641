"""Read outcomes from words, JSON lines or CSV; each line is checked before anything is recorded."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator
from time import time_ns
from typing import Any

import msgspec
import orjson

from rdv.commands.errors import LineUnusable, NotJson
from rdv.messages import ToldOutcome, Truth
from rdv.moment import InvalidMoment
from rdv.payload import DEPTH_MAX, UnusableJson, check_numbers_and_depth, read_json, unreadable

LINE_BYTES_MAX = 1024 * 1024
_COLUMNS = ("id", "outcome", "time")
_EXAMPLE = 'For example {"id": "5ae4f303…", "outcome": 1}'
_decode = msgspec.json.Decoder(ToldOutcome).decode


def truth_of_words(id_: str, value: str, time: str | None) -> Truth:
    """Return one outcome from a command line. Raises NotJson, InvalidMoment, and ValueError for an
    id.
    """
    return _checked(id_, outcome_json(value, "the outcome"), time)


def outcome_json(text: str, what: str) -> bytes:
    """Return `text` as JSON; a word that is not JSON is a string: fraud means "fraud". Raises
    NotJson.
    """
    try:
        read_json(text)
    except UnusableJson as error:
        is_meant = error.kind != "malformed_json" or text.lstrip()[:1] in ("{", "[", '"')
        if is_meant or not _is_text(text):
            raise NotJson(what, error.verdict(), error.hint(), error.kind) from None
        return orjson.dumps(text)
    return text.strip().encode()


def _is_text(text: str) -> bool:
    """Return whether the argument is text, not bytes that are not UTF-8."""
    return text.isascii() or not any("\ud800" <= letter <= "\udfff" for letter in text)


def truths_of_lines(lines: Iterable[bytes]) -> Iterator[Truth]:
    """Read outcomes from JSON lines, in the form of `POST /v1/outcomes`. Raises LineUnusable."""
    for number, line in enumerate(lines, 1):
        if line.isspace():
            continue
        try:
            yield _told(line).truth(time_ns())
        except UnusableJson as error:
            raise LineUnusable(number, error.verdict(), error.hint(), error.kind) from None
        except InvalidMoment as error:
            raise _time_unusable(number, error) from None
        except (msgspec.ValidationError, ValueError) as error:
            raise LineUnusable(number, f"is not an outcome: {error}", _EXAMPLE) from None


def _told(line: bytes) -> ToldOutcome:
    """Decode an outcome. Raises UnusableJson, and msgspec.ValidationError for JSON that is not an
    outcome.
    """
    check_numbers_and_depth(line, DEPTH_MAX + 1)
    try:
        line.decode()
        return _decode(line)
    except msgspec.ValidationError:
        raise
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise unreadable(line, error) from None


def truths_of_csv(lines: Iterable[bytes]) -> Iterator[Truth]:
    """Read outcomes from CSV whose first line names the columns id, outcome and (optionally) time.

    Other columns are ignored; an outcome that is not JSON is a string. Raises LineUnusable.
    """
    reader = csv.reader(_texts(lines), strict=True)
    places: dict[str, int] | None = None
    try:
        for row in reader:
            if places is None:
                places = _places(row)
            elif row:
                yield _truth_of_row(reader.line_num, row, places)
    except csv.Error as error:
        raise LineUnusable(reader.line_num, f"is not CSV: {error}") from None


def _texts(lines: Iterable[bytes]) -> Iterator[str]:
    for number, line in enumerate(lines, 1):
        try:
            text = line.decode("utf-8-sig" if number == 1 else "utf-8")
        except UnicodeDecodeError:
            raise LineUnusable(number, "is not UTF-8") from None
        yield text


def _places(names: list[str]) -> dict[str, int]:
    places = {name.strip().lower(): number for number, name in enumerate(names)}
    if missing := [name for name in _COLUMNS[:2] if name not in places]:
        advice = "The first line names the columns: id,outcome or id,outcome,time"
        raise LineUnusable(1, f"names no column {missing[0]!r}", advice)
    return {name: places[name] for name in _COLUMNS if name in places}


def _truth_of_row(number: int, row: list[str], places: dict[str, int]) -> Truth:
    try:
        cells = {name: row[at] for name, at in places.items()}
    except IndexError:
        raise LineUnusable(number, "has fewer columns than the first") from None
    try:
        outcome = outcome_json(cells["outcome"], "its outcome")
        return _checked(cells["id"], outcome, cells.get("time") or None)
    except InvalidMoment as error:
        raise _time_unusable(number, error) from None
    except NotJson as error:
        reason = f"cannot be used: {error.text()}"
        raise LineUnusable(number, reason, error.hint(), error.json_kind) from None
    except ValueError as error:
        raise LineUnusable(number, f"is not an outcome: {error}") from None


def _checked(id_: str, outcome: bytes, time: str | None) -> Truth:
    """Return an outcome, checked against the limits of a message. Raises ValueError."""
    told: dict[str, Any] = {"id": id_, "outcome": msgspec.Raw(outcome)}
    if time is not None:
        told["time"] = time
    return _decode(msgspec.json.encode(told)).truth(time_ns())


def _time_unusable(number: int, error: InvalidMoment) -> LineUnusable:
    return LineUnusable(number, f"has an unusable time: {error.text()}", error.hint())
