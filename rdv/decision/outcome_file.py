"""Read outcomes from files: JSON lines, CSV and Parquet, each also compressed (.gz).

The suffix says which it is: `.csv`, `.tsv` and `.txt` are tables of text, `.parquet` and `.pq` are
Parquet, everything else is JSON lines in the form of `POST /v1/outcomes`. Rows without an outcome
(an empty cell, NaN, null in Parquet) are skipped and counted. An explicit `null` in JSON lines or
CSV withdraws an outcome. In a table whose outcomes are texts, words such as `NA` and `none` are
outcomes like the others; in any other one they stand for a missing outcome (`rdv.decision.cells`).
"""

from __future__ import annotations

import contextlib
import csv
import gzip
import math
import os
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from time import time_ns
from typing import IO, Any, NamedTuple, cast

import msgspec
import orjson

from rdv.decision.cells import MISSING
from rdv.decision.errors import OutcomeFileUnusable
from rdv.errors import LineUnusable
from rdv.moment import InvalidMoment
from rdv.payload import (
    DEPTH_MAX,
    UnusableJson,
    canonical,
    check_numbers_and_depth,
    read_json,
    unreadable,
)
from rdv.rendezvous.messages import ReportedOutcome, Truth

LINE_BYTES_MAX = 1024 * 1024
_TABLES = (".csv", ".tsv", ".txt")
_PARQUET = (".parquet", ".pq")
_DELIMITERS = (",", ";", "\t", "|")
_MISSING = MISSING - {"null"}
_PARQUET_ROWS = 10_000
_EXAMPLE = 'For example {"id": "5ae4f303…", "outcome": 1}'
_decode = msgspec.json.Decoder(ReportedOutcome).decode


class Columns(NamedTuple):
    """The names of the columns (or fields) of a file. `time` may be missing in it."""

    id: str = "id"
    outcome: str = "outcome"
    time: str = "time"


@dataclass
class OutcomeFile:
    """The outcomes of one file. For one thread at a time."""

    path: str
    columns: Columns = field(default_factory=Columns)
    skipped: int = 0
    """The number of rows without an outcome, after `truths` has been read."""
    words: int = 0
    """How many of the outcomes are words such as `NA`, in a table whose outcomes are texts."""
    _has_texts: bool | None = None

    @property
    def _kind(self) -> str:
        name = self.path.lower().removesuffix(".gz")
        if name.endswith(_PARQUET):
            return "parquet"
        return "table" if name.endswith(_TABLES) else "lines"

    def truths(self) -> Iterator[Truth]:
        """Yield the outcomes, in the order of the file.

        Raises LineUnusable for a bad line or row, OutcomeFileUnusable for a bad file, and OSError.
        """
        self.skipped = self.words = 0
        if self._kind == "parquet":
            yield from self._of_parquet()
            return
        if self._kind == "table" and self._has_texts is None and os.path.isfile(self.path):
            with self._opened() as file, self._whole_gzip():
                self._has_texts = self._find_texts(_lines(file))
        with self._opened() as file:
            yield from self.truths_of(file)

    def truths_of(self, file: IO[bytes]) -> Iterator[Truth]:
        """Yield the outcomes of an open file of text."""
        with self._whole_gzip():
            read = self._of_table if self._kind == "table" else self._of_lines
            yield from read(_lines(file))

    @contextlib.contextmanager
    def _whole_gzip(self) -> Iterator[None]:
        try:
            yield
        except (gzip.BadGzipFile, zlib.error, EOFError) as error:
            raise OutcomeFileUnusable(self.path, f"is not a whole gzip file: {error}") from None

    def _opened(self) -> IO[bytes]:
        if self.path.lower().endswith(".gz"):
            return cast("IO[bytes]", gzip.open(self.path, "rb"))
        return open(self.path, "rb")

    def _of_lines(self, lines: Iterable[bytes]) -> Iterator[Truth]:
        for number, line in enumerate(lines, 1):
            if line.isspace():
                continue
            try:
                yield self._reported(line).truth(time_ns())
            except UnusableJson as error:
                raise LineUnusable(number, error.verdict(), error.hint(), error.kind) from None
            except InvalidMoment as error:
                raise _time_unusable(number, error) from None
            except (msgspec.ValidationError, ValueError) as error:
                raise LineUnusable(number, f"is not an outcome: {error}", _EXAMPLE) from None

    def _reported(self, line: bytes) -> ReportedOutcome:
        """Decode a line. Raises UnusableJson, msgspec.ValidationError."""
        check_numbers_and_depth(line, DEPTH_MAX + 1)
        try:
            line.decode()
            if self.columns == Columns():
                return _decode(line)
            fields = msgspec.json.decode(line, type=dict[str, msgspec.Raw])
        except msgspec.ValidationError:
            raise
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise unreadable(line, error) from None
        named = {
            name: fields[given]
            for name, given in zip(Columns._fields, self.columns, strict=True)
            if given in fields
        }
        return _decode(msgspec.json.encode(named))

    def _of_table(self, lines: Iterable[bytes]) -> Iterator[Truth]:
        for number, cells in self._rows(lines):
            if (truth := self._of_row(number, cells)) is not None:
                yield truth

    def _find_texts(self, lines: Iterable[bytes]) -> bool:
        """Return whether there is an outcome that is a text, and not a word for a missing one."""
        for _, cells in self._rows(lines):
            text = cells["outcome"]
            if text and text.lower() not in MISSING and _is_text(text):
                return True
        return False

    def _rows(self, lines: Iterable[bytes]) -> Iterator[tuple[int, dict[str, str]]]:
        """Yield the cells of each row by their meaning, with the number of its line."""
        texts = _texts(lines)
        head = next(texts, "")
        delimiter, places = self._places(head)
        reader = csv.reader(texts, delimiter=delimiter, strict=True)
        try:
            for row in reader:
                if not row:
                    continue
                number = reader.line_num + 1
                try:
                    yield number, {name: row[at].strip() for name, at in places.items()}
                except IndexError:
                    raise LineUnusable(number, "has fewer columns than the first") from None
        except csv.Error as error:
            raise LineUnusable(reader.line_num + 1, f"is not CSV: {error}") from None

    def _places(self, head: str) -> tuple[str, dict[str, int]]:
        """Return the delimiter, and where the columns are: by the first line."""
        found: list[str] = []
        for delimiter in _DELIMITERS:
            names = [name.strip() for name in next(csv.reader([head], delimiter=delimiter), [])]
            lowered = [name.lower() for name in names]
            if {self.columns.id.lower(), self.columns.outcome.lower()} <= set(lowered):
                return delimiter, {
                    name: lowered.index(given.lower())
                    for name, given in zip(Columns._fields, self.columns, strict=True)
                    if given.lower() in lowered
                }
            found = max(found, names, key=len)
        raise self._no_column(found)

    def _no_column(self, names: Iterable[str]) -> LineUnusable:
        names = list(names)
        wanted = (self.columns.id, self.columns.outcome)
        lowered = {name.lower() for name in names}
        missing = next((name for name in wanted if name.lower() not in lowered), wanted[0])
        advice = "Name the columns: --id-column NAME, --outcome-column NAME."
        there = ", ".join(names) or "nothing"
        return LineUnusable(1, f"names no column {missing!r}; it has {there}", advice)

    def _of_row(self, number: int, cells: dict[str, str]) -> Truth | None:
        outcome = cells["outcome"]
        is_word = outcome.lower() in _MISSING
        if not outcome or (is_word and not self._has_texts):
            self.skipped += 1
            return None
        self.words += is_word
        return _truth(number, cells["id"], cells["outcome"], cells.get("time") or None)

    def _of_parquet(self) -> Iterator[Truth]:
        import pyarrow as pa
        import pyarrow.parquet as pq

        try:
            with pq.ParquetFile(self.path) as file:
                there = set(file.schema_arrow.names)
                if not {self.columns.id, self.columns.outcome} <= there:
                    raise self._no_column(file.schema_arrow.names)
                names = [name for name in self.columns if name in there]
                number = 0
                for batch in file.iter_batches(_PARQUET_ROWS, columns=names):
                    columns = [batch.column(name).to_pylist() for name in names]
                    for id_, value, *time in zip(*columns, strict=True):
                        number += 1
                        if (truth := self._of_values(number, id_, value, *time)) is not None:
                            yield truth
        except pa.ArrowException as error:
            raise OutcomeFileUnusable(self.path, f"is not Parquet: {error}") from None

    def _of_values(self, number: int, id_: Any, value: Any, time: Any = None) -> Truth | None:
        is_nan = isinstance(value, float) and math.isnan(value)
        if value is None or is_nan or (isinstance(value, str) and not value.strip()):
            self.skipped += 1
            return None
        if isinstance(time, date):  # a datetime is one, too
            time = _iso(time)
        try:
            outcome = orjson.dumps(value) if isinstance(value, str) else canonical(value)
            return _checked(str(id_), outcome, time)
        except InvalidMoment as error:
            raise _time_unusable(number, error) from None
        except (UnusableJson, ValueError) as error:
            raise LineUnusable(number, f"is not an outcome: {error}") from None


def _iso(time: date) -> str:
    if isinstance(time, datetime) and time.tzinfo is None:
        time = time.replace(tzinfo=UTC)
    return time.isoformat()


def outcome_json(text: str) -> bytes:
    """Return a text as JSON; a word that is not JSON is a string. Raises UnusableJson."""
    try:
        read_json(text)
    except UnusableJson as error:
        if error.kind != "malformed_json" or text.lstrip()[:1] in ("{", "[", '"'):
            raise
        return orjson.dumps(text)
    return text.strip().encode()


def _is_text(text: str) -> bool:
    """Return whether an outcome is recorded as a string, of a word that is not JSON."""
    try:
        return outcome_json(text)[:1] == b'"'
    except UnusableJson:
        return False


def truth_of_words(id_: str, value: bytes, time: int | None) -> Truth:
    """Return one outcome from a command line. Raises InvalidMoment, ValueError."""
    return _checked(id_, value, time)


def _truth(number: int, id_: str, value: str, time: str | None) -> Truth:
    try:
        return _checked(id_, outcome_json(value), time)
    except InvalidMoment as error:
        raise _time_unusable(number, error) from None
    except UnusableJson as error:
        reason = f"cannot be used: {error.said_of('its outcome')}"
        raise LineUnusable(number, reason, error.hint(), error.kind) from None
    except ValueError as error:
        raise LineUnusable(number, f"is not an outcome: {error}") from None


def _checked(id_: str, outcome: bytes, time: str | int | None) -> Truth:
    """Return an outcome, checked against the limits of a message. Raises ValueError."""
    fields: dict[str, Any] = {"id": id_.strip(), "outcome": msgspec.Raw(outcome)}
    if time is not None:
        fields["time"] = time
    return _decode(msgspec.json.encode(fields)).truth(time_ns())


def _lines(file: IO[bytes]) -> Iterator[bytes]:
    number = 0
    while line := file.readline(LINE_BYTES_MAX + 1):
        number += 1
        if len(line) > LINE_BYTES_MAX:
            raise LineUnusable(number, f"is longer than {LINE_BYTES_MAX:,} bytes")
        yield line


def _texts(lines: Iterable[bytes]) -> Iterator[str]:
    for number, line in enumerate(lines, 1):
        try:
            text = line.decode("utf-8-sig" if number == 1 else "utf-8")
        except UnicodeDecodeError:
            raise LineUnusable(number, "is not UTF-8") from None
        yield text


def _time_unusable(number: int, error: InvalidMoment) -> LineUnusable:
    return LineUnusable(number, f"has an unusable time: {error.text()}", error.hint())
