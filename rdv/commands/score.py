"""Implement `rdv score`."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import TYPE_CHECKING, Annotated, Any

import orjson
import typer

from rdv.commands.errors import InvalidOption
from rdv.commands.options import Decision, Json, Quiet, RequestSchedule, need_file, output_file
from rdv.commands.output import Output, Progress

if TYPE_CHECKING:
    from rdv.decision import Decision as DecisionConfig
    from rdv.decision.proxies import ProxyAddress, Refused

EXAMPLES = (
    "rdv score fraud rows.parquet -o scored.parquet",
    "rdv score fraud rows.csv.gz -o scored.csv --key-column user",
    "rdv score fraud rows.jsonl -o scored.jsonl --share 0.01",
)
BODY_BYTES_MAX = 512 * 1024
"""The size of a batch, where the decision takes as much."""
_TIMEOUT_S = 10.0
_TRIES_MAX = 60
_BUSY = (429, 503)
_WHOLE_MAX = 2**53
_PAUSE_MS = 1_000
"""The pause before the next attempt, where the proxy names none."""
_ABOUT_ROWS = (
    "bad_input", "body_too_large", "too_many_rows", "invalid_request", "malformed_json",
    "number_out_of_range", "nested_too_deeply",
)  # fmt: skip
"""What a proxy says of a batch because of some of its rows."""


def score(
    directory: Decision,
    source: Annotated[
        str,
        typer.Argument(metavar="FILE", help="The rows: .parquet, .csv, .tsv, .jsonl; also .gz."),
    ],
    *,
    output: Annotated[str, output_file("The file for the answers, in any of these formats.")],
    key_column: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="The column with the keys; the models do not see it."),
    ] = None,
    schedule: RequestSchedule = None,
    share: Annotated[
        float,
        typer.Option(
            metavar="SHARE", help="The share of http.in_flight_max that its rows may use."
        ),
    ] = 0.05,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Score a file by the live decision.

    Each row is a request like any other: a proxy of the running decision takes it, and it is
    recorded. Only one batch of rows is open at a time, so that live traffic keeps its SLA. The
    answers have the columns row, id, key, kind, code, reason, model, version, waited_ms, and one
    for each field of the result. A row that is refused has the kind "refused" and the reason. After
    an interruption the same command continues where it stopped.
    """
    from rdv.decision import load_decision
    from rdv.decision.answer_file import AnswerFile
    from rdv.decision.proxies import find_proxies, listening
    from rdv.decision.row_file import ending_of, kinds_of_schema, read_rows

    decision = load_decision(directory)
    need_file("FILE", source)
    ending_of(source)
    if not 0 < share <= 1:
        raise InvalidOption("--share", "must be above 0 and at most 1")
    (proxy, *_) = listening(find_proxies(decision))
    shared = _shared(schedule)
    answers = AnswerFile(output, source, {"key_column": key_column, **shared})
    sender = Sender(decision, proxy, shared)
    size = max(1, min(decision.http.rows_max, int(decision.http.in_flight_max * share)))
    begun = answers.done or 0
    try:
        with Progress("scored {:,} rows") as progress:
            progress.advance(begun)
            kinds = kinds_of_schema(decision)
            if key_column is not None:
                kinds[key_column] = "text"
            rows = islice(read_rows(source, kinds), begun, None)
            requests = (
                (number, request_of(number, row, key_column))
                for number, row in enumerate(rows, start=begun)
            )
            for first, batch in batches(requests, size, sender.bytes_max):
                answers.add(sender.send(first, batch))
                progress.advance(len(batch))
        answers.finish()
    finally:
        answers.close()
    count = begun + sender.rows
    shown = Output(as_json=as_json, quiet=quiet)
    if as_json:
        shown.json({"rows": count, "resumed": begun, "kinds": sender.kinds, "output": output})
    else:
        counts = ", ".join(f"{number:,} {kind}" for kind, number in sender.kinds.items())
        shown.note(f"scored {count:,} rows into {output}{f': {counts}' if counts else ''}")


def _shared(schedule: str | None) -> dict[str, Any]:
    from rdv.commands.options import schedule_of_request

    return {} if schedule is None else {"schedule": schedule_of_request(schedule)}


def request_of(number: int, row: dict[str, Any], key_column: str | None) -> dict[str, Any]:
    """Return a row in the form of a request. Raises LineUnusable for a key that is not there."""
    from rdv.errors import LineUnusable

    if key_column is None:
        return {"data": row}
    if key_column not in row:
        raise LineUnusable(number + 1, f"has no column {key_column!r}")
    key = row.pop(key_column)
    return {"data": row} if key is None else {"data": row, "key": _text_of(key)}


def _text_of(key: Any) -> str:
    """Return a key as a text. Whole numbers beside missing ones are floats in many programs."""
    if isinstance(key, str):
        return key
    if isinstance(key, float) and key.is_integer() and abs(key) <= _WHOLE_MAX:
        key = int(key)
    return orjson.dumps(key).decode()


def batches(
    rows: Iterable[tuple[int, dict[str, Any]]], size: int, bytes_max: int
) -> Iterator[tuple[int, list[dict[str, Any]]]]:
    """Yield batches of at most `size` rows and `bytes_max` bytes, with their first rows' numbers.

    A row that is larger is a batch of its own.
    """
    batch: list[dict[str, Any]] = []
    first, length = 0, 0
    for number, row in rows:
        bytes_ = len(orjson.dumps(row)) + 1  # and a comma
        if batch and (len(batch) >= size or length + bytes_ > bytes_max):
            yield first, batch
            batch, length = [], 0
        if not batch:
            first = number
        batch.append(row)
        length += bytes_
    if batch:
        yield first, batch


class Sender:
    """Sends batches to a proxy, and counts the kinds of the answers."""

    def __init__(
        self, decision: DecisionConfig, proxy: ProxyAddress, shared: dict[str, Any]
    ) -> None:
        from rdv.decision.schedules import longest_wait_ms

        self.kinds: dict[str, int] = {}
        self.rows = 0
        self._proxy = proxy
        self._shared = shared
        self._timeout_s = _TIMEOUT_S + longest_wait_ms(decision) / 1000
        self._body_bytes_max = decision.http.body_bytes_max
        around = len(orjson.dumps({"rows": [], **shared}))
        self.bytes_max = min(BODY_BYTES_MAX, self._body_bytes_max) - around
        """The maximum size of the rows of a batch, each with a comma."""

    def send(self, first: int, batch: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Return an answer for each row of the batch. Raises Unreachable, Refused."""
        found = self._answered(batch)
        for answer in found:
            self.kinds[answer["kind"]] = self.kinds.get(answer["kind"], 0) + 1
        self.rows += len(batch)
        return [
            {"row": first + number, "key": row.get("key"), **answer}
            for number, (row, answer) in enumerate(zip(batch, found, strict=True))
        ]

    def _answered(self, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Ask about some rows; without those that are refused, or in halves, until it is clear."""
        from rdv.decision.proxies import Refused

        body = orjson.dumps({"rows": rows, **self._shared})
        try:
            return [_answer(one) for one in self._post(body)]
        except Refused as error:
            if error.proxy_code not in _ABOUT_ROWS:
                raise
            bad = _bad_rows(error)
            if not bad and len(rows) > 1:
                middle = len(rows) // 2
                return self._answered(rows[:middle]) + self._answered(rows[middle:])
            bad = bad or {0: error.message}
            good = [row for number, row in enumerate(rows) if number not in bad]
            answers = iter(self._answered(good) if good else ())
            return [
                {"kind": "refused", "code": error.proxy_code, "reason": bad[number]}
                if number in bad
                else next(answers)
                for number in range(len(rows))
            ]

    def _post(self, body: bytes) -> list[dict[str, Any]]:
        """Ask; a proxy that is full for now is asked again after the pause that it names."""
        from rdv.decision.proxies import Refused, post

        if len(body) > self._body_bytes_max:
            reason = f"{len(body):,} bytes are more than http.body_bytes_max"
            raise Refused(413, "body_too_large", reason)
        for attempt in range(_TRIES_MAX):
            try:
                answers: list[dict[str, Any]] = orjson.loads(
                    post(self._proxy, body, self._timeout_s)
                )["answers"]
                return answers
            except Refused as error:
                if error.status not in _BUSY or attempt == _TRIES_MAX - 1:
                    raise
                pause_ms = error.retry_after_ms
                time.sleep((_PAUSE_MS if pause_ms is None else pause_ms) / 1000)
        raise AssertionError


def _bad_rows(error: Refused) -> dict[int, str]:
    """Return the rows that a proxy has refused because of their data, with the reasons."""
    import re

    found: dict[int, str] = {}
    for fault in error.faults:
        match = re.match(r"rows\[(\d+)\]\.", fault["path"])
        number = int(match[1]) if match else 0
        path = fault["path"][match.end() :] if match else fault["path"]
        text = f"{path} {fault['reason']}"
        found[number] = f"{found[number]}; {text}" if number in found else text
    return found


def _answer(answer: dict[str, Any]) -> dict[str, Any]:
    """Return what is kept of an answer."""
    if (error := answer.get("error")) is not None:
        return {"kind": "refused", "code": error["code"], "reason": error["message"]}
    names = ("id", "kind", "code", "reason", "model", "version", "waited_ms", "result")
    return {name: answer[name] for name in names}
