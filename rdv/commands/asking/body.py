"""Turn the arguments of a command line into the body of a request."""

from __future__ import annotations

import os
import sys
from typing import Any

import msgspec

from rdv.commands.errors import InvalidOption, NotJson
from rdv.commands.files import need_file
from rdv.commands.terminal import said
from rdv.commands.units import parse_duration_ns
from rdv.payload import UnusableJson, read_json
from rdv.stream.file.disk import faults

INPUT_BYTES_MAX = 64 * 1024 * 1024


def read_data(text: str) -> msgspec.Raw:
    """Return JSON from the command line, or from stdin for "-", unchanged. Raises NotJson."""
    given = sys.stdin.buffer.read(INPUT_BYTES_MAX) if text == "-" else os.fsencode(text)
    _parsed(given, "stdin" if text == "-" else "the data")
    return msgspec.Raw(given.strip())


def read_schedule(text: str) -> str | dict[str, Any]:
    """Read a schedule's name, an object as JSON, or @FILE with one (TOML or JSON).

    Raises NotUsable, NotJson, InvalidSchedule, SystemFaults.
    """
    if text.startswith("@"):
        path = text[1:]
        need_file("--schedule", path)
        with faults(path, "read"), open(path, encoding="utf-8") as file:
            content = file.read(1024 * 1024)
        if path.endswith(".json"):
            return _object(content, path)
        from rdv.schedule import schedule_from_toml
        from rdv.schedule.model import content as plain

        return plain(schedule_from_toml(content, "inline", path))
    if text.lstrip().startswith("{"):
        return _object(os.fsencode(text), "--schedule")
    return said(text, "--schedule")


def make_body(
    data: Any,
    *,
    key: str | None = None,
    schedule: str | None = None,
    deadline: str | None = None,
    trace: bool = False,
) -> bytes:
    """Return the body of `POST /v1/decide`. Raises InvalidOption, InvalidQuantity and what
    `read_schedule` raises.
    """
    body: dict[str, Any] = {"data": data}
    if key is not None:
        body["key"] = said(key, "--key")
    if schedule is not None:
        body["schedule"] = read_schedule(schedule)
    if deadline is not None:
        deadline_ns = parse_duration_ns(deadline)
        if deadline_ns <= 0:
            raise InvalidOption("--deadline", "is more than nothing")
        body["deadline_ms"] = deadline_ns / 1e6
    if trace:
        body["trace"] = True
    return msgspec.json.encode(body)


def _object(text: bytes | str, what: str) -> dict[str, Any]:
    found = _parsed(text, what)
    if not isinstance(found, dict):
        raise NotJson(what, "is not JSON: an object is needed")
    return found


def _parsed(text: bytes | str, what: str) -> Any:
    try:
        return read_json(text)
    except UnusableJson as error:
        raise NotJson(what, error.verdict(), error.hint(), error.kind) from None
