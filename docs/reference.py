"""The parts of reference pages that are made from the code; `docs/build.py` puts them in place."""

from __future__ import annotations

import ast
import inspect
import json
import re
import textwrap
from collections.abc import Callable, Iterable
from types import ModuleType
from typing import Any

import msgspec
from command_tree import CommandPage, command_pages

import rdv.analysis.statistics
import rdv.errors
import rdv.load.generator
import rdv.rendezvous.engine
import rdv.rendezvous.schedule
import rdv.stream
from rdv.codes import HTTP_CODES
from rdv.commands import exits
from rdv.serve.proxy.answers import TracedAnswer
from rdv.serve.proxy.intake import Body
from rdv.serve.proxy.openapi.document import ANSWER, ASKED
from rdv.decision.console import Console
from rdv.decision.events import Event
from rdv.decision.decision import Cohort, Cohorts, Decision
from rdv.decision.objective import Objective
from rdv.decision.traces import Traces
from rdv.decision.outcome import Outcome
from rdv.decision.features import HttpFeatures, RedisFeatures
from rdv.decision.schema import Column, Schema
from rdv.decision.sections import setting_fields
from rdv.decision.value import Value
from rdv.decision.decision import Gate
from rdv.decision.logs import Logging
from rdv.decision.notify import Notify, Webhook
from rdv.decision.model import ModelConfig
from rdv.decision.remote import Remote
from rdv.decision.sections import Drift, Http, Log, Server
from rdv.load.drill import plan as drill_plan
from rdv.rendezvous.messages import Request, Result, Score, Truth
from rdv.rendezvous.messages.outcome import ReportedOutcome

_EFFECTS = {
    "live": "at once",
    "replace": "at once, by replacing the model's processes",
    "serve": "at the next `rdv serve`",
    "command": "when the command is run",
    None: "",
}


def table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """A Markdown table."""
    head = list(head)
    lines = [
        head,
        ["---"] * len(head),
        *([cell.replace("|", "\\|") for cell in row] for row in rows),
    ]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


# --- the command line ------------------------------------------------------------------------


def cli() -> str:
    """All commands, as their `--help` has them."""
    return "\n".join(_command(page) for page in command_pages())


def _command(page: CommandPage) -> str:
    level = "#" * (1 + len(page.name.split()))
    parts = [f"{level} {page.name}\n", f"```text\n{page.usage}\n```\n", _prose(page.help)]
    for title, records in (("Argument", page.arguments), ("Option", page.options)):
        if records:
            parts.append(table((title, "Meaning"), ((f"`{n}`", _escape(t)) for n, t in records)))
    if page.commands:
        parts.append(
            table(("Command", "What it does"), ((f"`{n}`", _escape(t)) for n, t in page.commands))
        )
    if page.examples:
        parts.append("```text\n" + "\n".join(page.examples) + "\n```\n")
    return "\n".join(parts)


def _prose(text: str) -> str:
    """Paragraphs of help as Markdown; those with a layout of their own as a block."""
    parts = []
    for paragraph in text.split("\n\n"):
        if any(line.startswith("  ") for line in paragraph.splitlines()):
            parts.append(f"```text\n{paragraph}\n```\n")
        else:
            parts.append(_escape(" ".join(paragraph.split())) + "\n")
    return "\n".join(parts)


def _escape(text: str) -> str:
    """Words of help that Markdown would take for something else."""
    return re.sub(r"([<>*_\[\]])", r"\\\1", text)


def exit_codes() -> str:
    """The exit codes and what they mean."""
    rows = [
        (exits.FINE, "Success."),
        (
            exits.FAILED,
            "The command failed: damage was found, the disk is full, another process is in the way, a drill or a check did not pass.",
        ),
        (
            exits.USAGE,
            "Wrong usage: an unknown option, a missing argument, a value out of its range, options that do not go together.",
        ),
        (
            exits.INVALID,
            "Invalid input or configuration: a file, a name or a setting that the command line names is missing or cannot be used.",
        ),
        (exits.UNREACHABLE, "The decision's server does not answer."),
        (
            exits.THRESHOLD,
            "A condition was not met: `rdv load --fail-if` came true, a model did not pass the gate of `rdv promote`, its promotion was taken back, or a limit of `rdv regress` is broken.",
        ),
        (exits.INTERRUPTED, "Interrupted (Ctrl-C)."),
        (exits.PIPE_CLOSED, "The program that reads the output went away (as SIGPIPE)."),
    ]
    return table(("Exit code", "Meaning"), ((str(code), text) for code, text in rows))


def drill_faults() -> str:
    """The faults of `rdv drill`."""
    text = inspect.getsource(drill_plan)
    doc = re.search(r'"""What is done to a part.*?"""', text, re.DOTALL)
    assert doc is not None
    found = dict(re.findall(r"(\w+): (.+?)(?=(?: \w+: )|\n|$)", doc[0]))
    return table(("Fault", "What is done"), ((f"`{f}`", found[f]) for f in drill_plan.FAULTS))


# --- rdv.toml --------------------------------------------------------------------------------


def settings() -> str:
    """Every key of rdv.toml: description, default and when an edit takes effect."""
    sections: list[tuple[str, str, Any]] = [
        ("Top of the file", "", Decision),
        ("[http]", "http.", Http),
        ("[server]", "server.", Server),
        ("[log]", "log.", Log),
        ("[gate]", "gate.", Gate),
        ("[outcome]", "outcome.", Outcome),
        ("[value]", "value.", Value),
        ("[objective]", "objective.", Objective),
        ("[enrich_redis]", "enrich_redis.", RedisFeatures),
        ("[enrich_http]", "enrich_http.", HttpFeatures),
        ("[schema]", "schema.", Schema),
        ("[schema.columns.NAME]", "", Column),
        ("[drift]", "drift.", Drift),
        ("[logging]", "logging.", Logging),
        ("[notify]", "notify.", Notify),
        ("[notify.webhooks.NAME]", "notify.webhooks.NAME.", Webhook),
        ("[console]", "console.", Console),
        ("[traces]", "traces.", Traces),
        ("[models.NAME]", "", ModelConfig),
        ("[models.NAME.remote]", "", Remote),
        ("[cohorts]", "cohorts.", Cohorts),
        ("[cohorts.NAME]", "", Cohort),
    ]
    return "\n".join(
        f"## {title}\n\n"
        + table(("Key", "Default", "Meaning", "An edit takes effect"), _keys(prefix, kind))
        for title, prefix, kind in sections
    )


def _keys(prefix: str, kind: type[msgspec.Struct]) -> Iterable[tuple[str, ...]]:
    for found in setting_fields(kind):
        if found.default is msgspec.NODEFAULT:
            default = "(required)"
        elif found.default is None or found.default is msgspec.UNSET:
            default = "(none)"
        else:
            default = f"`{json.dumps(msgspec.to_builtins(found.default))}`"
        yield f"`{prefix}{found.name}`", default, _escape(found.comment), _EFFECTS[found.effect]


# --- HTTP ------------------------------------------------------------------------------------


def fields(kind: type) -> list[tuple[str, str, str]]:
    """Name, type and docstring of each field of a class, in order."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(kind)))
    body = tree.body[0].body  # type: ignore[attr-defined]
    found = []
    for node, after in zip(body, [*body[1:], None], strict=True):
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            said = ""
            if isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant):
                said = " ".join(str(after.value.value).split())
            found.append((node.target.id, ast.unparse(node.annotation), said))
    return found


def _fields(kind: type) -> str:
    rows = ((f"`{name}`", f"`{kind_}`", said) for name, kind_, said in fields(kind))
    return table(("Field", "Type", "Meaning"), rows)


def http_request() -> str:
    """The body of POST /v1/decide."""
    return _described(ASKED, Body.__struct_fields__)


def http_answer() -> str:
    """The fields of an answer."""
    return _described(ANSWER, TracedAnswer.__struct_fields__)


def http_outcome() -> str:
    """The fields of an outcome."""
    said = {name: text for name, _, text in fields(ReportedOutcome)}
    said["id"] = "Required. The `id` of the answer."
    said["outcome"] = "Required. Any JSON; `null` takes an earlier outcome back."
    return _described(said, ReportedOutcome.__struct_fields__)


def _described(texts: dict[str, str], names: Iterable[str]) -> str:
    """A table of the fields that the code has; a field without a text is an error."""
    return table(("Field", "Meaning"), ((f"`{name}`", texts[name]) for name in names))


def http_statuses() -> str:
    """Each status and its codes."""
    by_status: dict[int, list[str]] = {}
    for code, (status, _) in HTTP_CODES.items():
        by_status.setdefault(status, []).append(f"`{code}`")
    return table(
        ("Status", "Codes"), ((str(s), ", ".join(by_status[s])) for s in sorted(by_status))
    )


def records() -> str:
    """The records of the streams of a decision."""
    kinds = (
        ("input", Request),
        ("scores", Score),
        ("results", Result),
        ("outcomes", Truth),
        ("control:events and control:commands", Event),
    )
    return "\n".join(f"### {name}\n\n{_fields(kind)}" for name, kind in kinds)


# --- Python ----------------------------------------------------------------------------------


def python(module: ModuleType, names: Iterable[str] | None = None) -> Callable[[], str]:
    """Return what writes the reference of `names`, or of all public names, of a module."""
    chosen = module.__all__ if names is None else names
    return lambda: "\n".join(_public(name, getattr(module, name)) for name in chosen)


def _public(name: str, found: Any) -> str:
    if not (inspect.isclass(found) or inspect.isfunction(found)):
        return f"### {name}\n\n`{found!r}`\n"
    if not inspect.isclass(found):
        return f"### {name}\n\n{_signature(name, found)}{_doc(found)}"
    parts = [f"### {name}\n\n{_doc(found)}"]
    if described := [row for row in fields(found) if not row[0].startswith("_")]:
        parts.append(
            table(("Field", "Type", "Meaning"), ((f"`{n}`", f"`{k}`", d) for n, k, d in described))
        )
    for method_name, method in vars(found).items():
        if method_name.startswith("_") or not inspect.isfunction(method):
            continue
        parts.append(f"{_signature(f'{name}.{method_name}', method)}{_doc(method)}")
    return "\n".join(parts)


def _signature(name: str, function: Any) -> str:
    text = (
        str(inspect.signature(function))
        .replace("'", "")
        .replace("self, ", "")
        .replace("(self)", "()")
    )
    return f"```text\n{name}{text}\n```\n\n"


def _doc(found: Any) -> str:
    text = inspect.getdoc(found) or ""
    if text.startswith(f"{getattr(found, '__name__', '')}("):
        return ""
    return text.replace("](", "] (") + "\n"


INCLUDES: dict[str, Callable[[], str]] = {
    "cli": cli,
    "drill-faults": drill_faults,
    "exit-codes": exit_codes,
    "http-answer": http_answer,
    "http-outcome": http_outcome,
    "http-request": http_request,
    "http-statuses": http_statuses,
    "python-client": python(
        rdv, ["Client", "AsyncClient", "Answer", "InvalidCall", "RequestRefused", "NoAnswer"]
    ),
    "python-engine": python(rdv.rendezvous.engine, ["Engine"]),
    "python-errors": python(rdv.errors, ["RdvError"]),
    "python-load": python(rdv.load.generator),
    "python-local": python(rdv, ["local", "Local"]),
    "python-open": python(rdv, ["open", "OpenDecision", "Table"]),
    "python-schedule": python(rdv.rendezvous.schedule),
    "python-statistics": python(rdv.analysis.statistics),
    "python-stream": python(rdv.stream),
    "records": records,
    "settings": settings,
}
"""What `<!-- include NAME -->` stands for."""
