"""Implement `rdv ask`."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import orjson
import typer

from rdv.commands.errors import InvalidOption
from rdv.commands.options import Decision, RequestSchedule, parsed_json, schedule_of_request
from rdv.commands.terminal import Style, as_text, fit, is_terminal, paint, printable, width
from rdv.commands.units import digits, parse_duration_ns

if TYPE_CHECKING:
    from rdv.decision import Decision as DecisionConfig

EXAMPLES = (
    """rdv ask fraud '{"amount": 12.5}'""",
    """rdv ask fraud '{"amount": 12.5}' --key user-42 --trace""",
    """rdv ask fraud '{"amount": 12.5}' --schedule qa-challenger""",
    "jq .data row.json | rdv ask fraud - | jq .result",
)
_KIND_STYLES: dict[str, Style] = {"preferred": "green", "fallback": "yellow", "default": "red"}
INPUT_BYTES_MAX = 64 * 1024 * 1024
_TIMEOUT_S = 10.0
"""How many seconds beyond the longest SLA to wait: a proxy answers by then."""


def ask(
    directory: Decision,
    data: Annotated[
        str,
        typer.Argument(
            metavar="DATA", help="The data that the models score, as JSON; - reads stdin."
        ),
    ],
    *,
    key: Annotated[
        str | None,
        typer.Option(
            metavar="KEY",
            help="The key, such as a user or an account. It determines partition and cohort.",
        ),
    ] = None,
    schedule: RequestSchedule = None,
    deadline: Annotated[
        str | None,
        typer.Option(
            metavar="DURATION", help="The time limit for the answer, if shorter than the SLA: 30ms."
        ),
    ] = None,
    trace: Annotated[
        bool, typer.Option("--trace", "-t", help="Show which models had reported, and when.")
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the answer as JSON; the default off a terminal.")
    ] = False,
) -> None:
    """Send one request to a running decision.

    The answer names the model that gave it, its kind (preferred, fallback or default), and the
    reason.
    """
    from rdv.decision import load_decision
    from rdv.decision.proxies import ask_any, find_proxies
    from rdv.decision.schedules import longest_wait_ms

    decision = load_decision(directory)
    body = make_body(read_data(data), key=key, schedule=schedule, deadline=deadline, trace=trace)
    timeout_s = _TIMEOUT_S + longest_wait_ms(decision) / 1000
    answer = ask_any(find_proxies(decision), body, timeout_s)
    if as_json or not is_terminal(sys.stdout):
        sys.stdout.buffer.write(answer.rstrip(b"\n") + b"\n")
    else:
        _render(decision, answer)


def read_data(text: str) -> msgspec.Raw:
    """Return JSON from the command line, or from stdin for "-", unchanged. Raises NotJson."""
    given = sys.stdin.buffer.read(INPUT_BYTES_MAX) if text == "-" else os.fsencode(text)
    parsed_json(given, "stdin" if text == "-" else "the data")
    return msgspec.Raw(given.strip())


def make_body(
    data: Any,
    *,
    key: str | None = None,
    schedule: str | None = None,
    deadline: str | None = None,
    trace: bool = False,
) -> bytes:
    """Return the body of `POST /v1/decide`. Raises InvalidOption, InvalidQuantity, NotJson."""
    body: dict[str, Any] = {"data": data}
    if key is not None:
        body["key"] = as_text(key, "--key")
    if schedule is not None:
        body["schedule"] = schedule_of_request(schedule)
    if deadline is not None:
        deadline_ns = parse_duration_ns(deadline)
        if deadline_ns <= 0:
            raise InvalidOption("--deadline", "must be longer than 0")
        body["deadline_ms"] = deadline_ns / 1e6
    if trace:
        body["trace"] = True
    return msgspec.json.encode(body)


def _render(decision: DecisionConfig, raw: bytes) -> None:
    from rdv.analysis.explain.timeline import draw_arrivals
    from rdv.decision.schedules import ScheduleSlas

    answer = orjson.loads(raw)
    answer["result"] = msgspec.json.decode(raw, type=dict[str, msgspec.Raw])["result"]
    sla_ms = ScheduleSlas(decision).find_ms(str(answer["schedule"]))
    for name, text, style in _facts(answer, sla_ms):
        shown = fit(printable(text), max(20, width() - 10))
        sys.stdout.write(f"{name:<8}  {paint(shown, style, sys.stdout) if style else shown}\n")
    if answer.get("trace") is not None:
        lines = draw_arrivals(answer, sla_ms, width())
        sys.stdout.write("\n" + "\n".join(printable(line) for line in lines) + "\n")


def _facts(answer: dict[str, Any], sla_ms: float | None) -> list[tuple[str, str, Style | None]]:
    kind = answer["kind"]
    by = f", by {answer['model']} {answer['version'] or ''}".rstrip() if answer["model"] else ""
    if answer.get("answered_by") == "proxy":
        by = ", by the proxy itself"
    of = f" of {sla_ms:g}" if sla_ms is not None else ""
    facts: list[tuple[str, str, Style | None]] = [
        ("result", bytes(answer["result"]).decode(), "bold"),
        ("kind", f"{kind}{by}", _KIND_STYLES.get(kind)),
        ("waited", f"{digits(answer['waited_ms'])}{of} ms", None),
        ("schedule", f"{answer['schedule']}, step {answer['step'] or 'none'}", None),
    ]
    if answer["reason"]:
        facts.append(("reason", str(answer["reason"]), None))
    if answer.get("code"):
        facts.append(("code", str(answer["code"]), None))
    if answer["cohort"]:
        facts.append(("cohort", str(answer["cohort"]), None))
    return [*facts, ("id", str(answer["id"]), "dim")]
