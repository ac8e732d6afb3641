"""Implement `rdv ask`."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rdv.commands.options import Decision
from rdv.commands.terminal import Style, fit, is_terminal, paint, printable, width

if TYPE_CHECKING:
    from rdv.decision import Decision as DecisionConfig

EXAMPLES = (
    """rdv ask fraud '{"amount": 12.5}'""",
    """rdv ask fraud '{"amount": 12.5}' --key user-42 --trace""",
    """rdv ask fraud '{"amount": 12.5}' --schedule qa-challenger""",
    "jq .data row.json | rdv ask fraud - | jq .result",
)
_KIND_STYLES: dict[str, Style] = {"preferred": "green", "fallback": "yellow", "default": "red"}
_PATIENCE_S = 10.0
"""How many seconds beyond the longest SLA to wait for an answer. A proxy answers by then; what does
not answer is not a proxy of this decision.
"""


def ask(
    directory: Decision,
    data: Annotated[
        str, typer.Argument(metavar="DATA", help="What the models score, as JSON; - reads stdin.")
    ],
    *,
    key: Annotated[
        str | None,
        typer.Option(metavar="KEY", help="A user, an account: chooses partition and cohort."),
    ] = None,
    schedule: Annotated[
        str | None,
        typer.Option(
            metavar="NAME|JSON|@FILE", help="Decide by this schedule instead of the live one."
        ),
    ] = None,
    deadline: Annotated[
        str | None,
        typer.Option(metavar="DURATION", help="Answer by then, if that is before the SLA: 30ms."),
    ] = None,
    trace: Annotated[
        bool, typer.Option("--trace", "-t", help="Show who had reported, and when.")
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the answer as JSON; so it is off a terminal.")
    ] = False,
) -> None:
    """Ask a running decision one question.

    The answer says which model gave it, of what kind it is (preferred, fallback or default), and
    why.
    """
    from rdv.commands.ask_proxy import ask_any, find_doors, make_body, read_data
    from rdv.decision import load_decision
    from rdv.serve.schedules import longest_wait_ms

    decision = load_decision(directory)
    body = make_body(read_data(data), key=key, schedule=schedule, deadline=deadline, trace=trace)
    patience_s = _PATIENCE_S + longest_wait_ms(decision) / 1000
    answer = ask_any(find_doors(decision), body, patience_s)
    if as_json or not is_terminal(sys.stdout):
        sys.stdout.buffer.write(answer.rstrip(b"\n") + b"\n")
    else:
        _render(decision, answer)


def _render(decision: DecisionConfig, raw: bytes) -> None:
    import msgspec
    import orjson

    from rdv.analysis.explain.timeline import draw_arrivals
    from rdv.commands.serving.check import SlaBook

    answer = orjson.loads(raw)
    answer["result"] = msgspec.json.decode(raw, type=dict[str, msgspec.Raw])["result"]
    sla_ms = SlaBook(decision).find_ms(str(answer["schedule"]))
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
        ("waited", f"{answer['waited_ms']:.2f}{of} ms", None),
        ("schedule", f"{answer['schedule']}, step {answer['step'] or 'none'}", None),
    ]
    if answer["reason"]:
        facts.append(("reason", str(answer["reason"]), None))
    if answer.get("code"):
        facts.append(("code", str(answer["code"]), None))
    if answer["cohort"]:
        facts.append(("cohort", str(answer["cohort"]), None))
    return [*facts, ("id", str(answer["id"]), "dim")]
