"""Find where the proxies of a decision listen, and send one request to one of them.

Turn the arguments of a command line into the body of a request.
"""

from __future__ import annotations

import contextlib
import http.client
import os
import sys
from dataclasses import dataclass
from typing import Any

import msgspec
import orjson

from rdv.commands.errors import InvalidOption, NotJson, Refused, Unreachable
from rdv.commands.options import need_file
from rdv.commands.terminal import said
from rdv.commands.units import parse_duration_ns
from rdv.decision import Decision
from rdv.http.authority import host_port, reachable_host
from rdv.payload import UnusableJson, read_json
from rdv.serve.supervisor.lock import holder_of
from rdv.stream.errors import NotPermitted
from rdv.stream.file.disk import faults

_OK = 200


@dataclass(frozen=True)
class Door:
    """The address of one proxy."""

    directory: str
    host: str
    port: int

    def __str__(self) -> str:
        return host_port(self.host, self.port)

    def unreachable(self, reason: str) -> Unreachable:
        return Unreachable(self.directory, str(self), reason)


def find_doors(decision: Decision) -> list[Door]:
    """Return the addresses of the running `rdv serve` (it may have been given options), else those
    of rdv.toml.
    """
    holder = None
    with contextlib.suppress(NotPermitted):
        holder = holder_of(decision.directory)
    host, port = decision.http.host, decision.http.port
    ports = [port + n for n in range(decision.http.proxies)]
    if holder is not None:
        host, ports = holder.host, holder.ports
    return [Door(decision.directory, reachable_host(host), port) for port in ports]


def post(door: Door, body: bytes, timeout_s: float) -> bytes:
    """Return the body of the response to `POST /v1/decide`. Raises Unreachable, Refused."""
    connection = http.client.HTTPConnection(door.host, door.port, timeout=timeout_s)
    try:
        headers = {"Content-Type": "application/json"}
        connection.request("POST", "/v1/decide", body, headers)
        response = connection.getresponse()
        answer = response.read()
    except TimeoutError:
        raise door.unreachable(f"nothing came within {timeout_s:g} s") from None
    except (OSError, http.client.HTTPException) as error:
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise door.unreachable(reason.lower()) from None
    finally:
        connection.close()
    if response.status != _OK:
        raise refusal(response.status, answer)
    return answer


def ask_any(doors: list[Door], body: bytes, timeout_s: float) -> bytes:
    """Return the answer of the first proxy that can be reached. Raises Unreachable, Refused."""
    failure: Unreachable | None = None
    for door in doors:
        try:
            return post(door, body, timeout_s)
        except Unreachable as error:
            failure = failure or error
    assert failure is not None
    raise failure


def refusal(status: int, body: bytes) -> Refused:
    """Return the proxy's refusal with the code and message of the response, if it has them."""
    said: Any = {}
    try:
        said = orjson.loads(body)
        said = said.get("error", said)
        if isinstance(said, str):
            said = {"code": said}
        return Refused(status, str(said.get("code", "")), str(said.get("message", "")))
    except (orjson.JSONDecodeError, AttributeError):
        return Refused(status, "", body[:200].decode("utf-8", "replace"))


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
        from rdv.rendezvous.schedule import schedule_from_toml
        from rdv.rendezvous.schedule.model import content as plain

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
