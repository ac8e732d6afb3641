"""Check that every code is in the list of CODES.md, which `make codes` writes."""

from __future__ import annotations

import ast
import importlib
import logging
import pkgutil
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import get_args

import rdv
from rdv.coded import CodeFormatter, coded, with_code
from rdv.codes import (
    DAMAGE_CODES,
    DRILL_CODES,
    EVENT_CODES,
    EVENT_KINDS,
    HTTP_CODES,
    LINT_CODES,
    REPORT_CODES,
    RESULT_CODES,
    VERIFY_CODES,
    DamageCode,
    DrillCode,
    EventCode,
    EventKind,
    HttpCode,
    LintCode,
    ReportCode,
    ResultCode,
    VerifyCode,
)
from rdv.commands.exits import EXIT_CODES
from rdv.errors import HTTP_STATUSES, RdvError, code_of

ROOT = Path(__file__).parent.parent
HEAD = """# Codes

Programs read the code, people read the sentence beside it. A code never changes its name or its meaning; this list only grows. It is made by `make codes`.
"""  # noqa: E501


FINDINGS: list[tuple[str, dict[str, str]]] = [
    ("a finding of `rdv schedule check`", LINT_CODES),
    ("damage that `rdv stream verify` finds", DAMAGE_CODES),
    ("a finding of `rdv verify`: `findings`, `unchecked_codes`", VERIFY_CODES),
    ("a promise that `rdv drill` finds broken: `broken_codes`", DRILL_CODES),
]


def error_classes() -> list[type[RdvError]]:
    for module in pkgutil.walk_packages(rdv.__path__, "rdv."):
        if not module.name.endswith("__main__") and ".templates." not in module.name:
            importlib.import_module(module.name)
    return sorted(below(RdvError), key=code_of)


def below(base: type[RdvError]) -> Iterator[type[RdvError]]:
    for one in base.__subclasses__():
        if one.__module__.startswith("rdv."):
            yield one
            yield from below(one)


def looked_up(table: dict[type[RdvError], int], error: type[RdvError]) -> int:
    return next(found for fault, found in table.items() if issubclass(error, fault))


def sentence(error: type[RdvError]) -> str:
    text = " ".join((error.__doc__ or "").split("\n\n")[0].split())
    return text.replace("|", "\\|")


def codes_table() -> str:
    parts = [HEAD]
    parts.append("## Of an answer: `code` beside `reason`, empty for the preferred answer\n")
    parts.append(rows("code", "meaning", ((f"`{c}`", m) for c, m in RESULT_CODES.items() if c)))
    parts.append("## Of a model's report: `code` beside `error` or `refusal`\n")
    parts.append(rows("code", "meaning", ((f"`{c}`", m) for c, m in REPORT_CODES.items() if c)))
    parts.append('## Of an HTTP error: `{"error": {"code": …, "message": …}}`\n')
    http = ((f"`{c}`", str(status), m) for c, (status, m) in HTTP_CODES.items())
    parts.append(rows("code", "status", "meaning", http))
    parts.append(
        "## Of trouble: in logs, in `rdv status`, in `control`\n\nA line of a log that names a "
        "refusal, a loss or trouble ends with its code in brackets: `… [disk_full]`. The code is "
        "one of these, or that of an error, a report, an answer, or a finding of the linter. "
        "`rdv status --json` and the records of `control:status` have it beside the sentence "
        "(`trouble_code`, `not_in_force_codes`, `what_codes`, `unread_codes`). "
        "`control:events` has a record of each such line of the supervisor: `code`, `message` and "
        "`about`, which is the file, process or model.\n"
    )
    parts.append(rows("code", "meaning", ((f"`{c}`", m) for c, m in EVENT_CODES.items())))
    parts.append(
        "## Of an event: `kind` in `rdv events`, in `control:events` and `control:commands`\n\n"
        "Its `code` is that of trouble, else the kind again.\n"
    )
    parts.append(rows("kind", "meaning", ((f"`{c}`", m) for c, m in EVENT_KINDS.items())))
    for title, codes in FINDINGS:
        parts.append(f"## Of {title}\n")
        parts.append(rows("code", "meaning", ((f"`{c}`", m) for c, m in codes.items())))
    parts.append(
        "## Of a command's error\n\nWith `--json` an error is one line of JSON on stderr: "
        '`{"error": {"code": …, "message": …, "hint": …}}`. A command line that is wrong has the '
        "code `wrong_usage`. JSON that is not taken has the code that it has over HTTP "
        "(`malformed_json`, `number_out_of_range`, `nested_too_deeply`), and what the proxy "
        "refuses the proxy's.\n"
    )
    errors = (
        (f"`{code_of(e)}`", str(looked_up(EXIT_CODES, e)), sentence(e))
        for e in error_classes()
        if e not in HTTP_STATUSES
    )
    parts.append(rows("code", "exit code", "meaning", errors))
    return "\n".join(parts)


def rows(*columns_then_cells) -> str:
    *columns, cells = columns_then_cells
    lines = [columns, ["---"] * len(columns), *cells]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def test_every_code_has_a_sentence():
    assert set(get_args(ResultCode)) == set(RESULT_CODES)
    assert set(get_args(ReportCode)) == set(REPORT_CODES)
    assert set(get_args(HttpCode)) == set(HTTP_CODES)
    assert set(get_args(EventCode)) == set(EVENT_CODES)
    assert set(get_args(EventKind)) == set(EVENT_KINDS)
    assert set(get_args(DamageCode)) == set(DAMAGE_CODES)
    assert set(get_args(DrillCode)) == set(DRILL_CODES)
    assert set(get_args(LintCode)) == set(LINT_CODES)
    assert set(get_args(VerifyCode)) == set(VERIFY_CODES)
    for meaning in [*RESULT_CODES.values(), *REPORT_CODES.values(), *EVENT_CODES.values()]:
        assert meaning.endswith(".")
    for meaning in [meaning for _, codes in FINDINGS for meaning in codes.values()]:
        assert meaning.endswith(".")


def test_codes_md_is_the_list():
    assert (ROOT / "CODES.md").read_text() == codes_table(), "run `make codes` and commit CODES.md"


def test_codes_of_errors_are_unique():
    codes = [code_of(error) for error in error_classes()]
    assert sorted(set(codes)) == codes
    assert all(code.isascii() and code.replace("_", "").isalnum() for code in codes)


def test_every_http_error_has_its_listed_status():
    """Each `Failure(status, code, …)`, and each OipError with both, is in the list like that."""
    found = set()
    for path, call in calls():
        if code_of_call(call) == "Failure" and len(call.args) >= 2:
            status, code = call.args[:2]
        elif code_of_call(call) == "OipError" and len(call.args) == 3:
            _, status, code = call.args
        else:
            continue
        if isinstance(code, ast.Constant):
            found.add(code.value)
            if isinstance(status, ast.Constant):
                assert HTTP_CODES[code.value][0] == status.value, (path, code.value)
    assert found == set(HTTP_CODES)


@cache
def sources() -> list[tuple[Path, list[ast.AST]]]:
    """Return the nodes of each file that say a code or a sentence, or make something."""
    kinds = (ast.Call, ast.Compare, ast.Constant, ast.Raise)
    return [
        (path, [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, kinds)])
        for path in sorted((ROOT / "rdv").rglob("*.py"))
        if "templates" not in path.parts
    ]


def calls() -> Iterator[tuple[Path, ast.Call]]:
    """Yield all calls in the source."""
    for path, nodes in sources():
        yield from ((path, node) for node in nodes if isinstance(node, ast.Call))


def code_of_call(call: ast.Call) -> str:
    return call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")


def test_every_warning_in_a_log_has_a_code():
    """`log.warning(…, extra=coded(…))`: a program that reads logs must not parse sentences."""
    without = []
    for path, call in calls():
        if code_of_call(call) not in ("warning", "error", "exception"):
            continue
        if ast.unparse(call.func) not in ("log.warning", "log.error", "log.exception"):
            continue
        if "extra" not in {keyword.arg for keyword in call.keywords}:
            without.append(f"{path}:{call.lineno}")
    assert without == []


def test_every_code_can_be_produced():
    """Each code is written in the source outside of its list; each class of errors is made."""
    words: set[str] = set()
    made: set[str] = set()
    for path, nodes in sources():
        if path == ROOT / "rdv" / "codes.py":
            continue
        for node in nodes:
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                words.add(node.value)
            elif isinstance(node, ast.Call):
                made.add(code_of_call(node))
            elif isinstance(node, ast.Raise) and isinstance(node.exc, ast.Name):
                made.add(node.exc.id)
    listed = {*RESULT_CODES, *REPORT_CODES, *HTTP_CODES, *EVENT_CODES} - {""}
    listed |= {code for _, codes in FINDINGS for code in codes}
    assert listed - words - {"unspecified"} == set()  # of records of 0.1.0 only
    classes = {error.__name__ for error in error_classes() if error not in HTTP_STATUSES}
    assert {name for name in classes if name not in made} == set()


COINED = {"CodedText": DAMAGE_CODES | DRILL_CODES, "Finding": LINT_CODES}
LIBRARIES = {"payload.py", "load.py", "convert.py", "codec.py", "head.py", "client.py"}
"""Where the message of a JSON, TOML or HTTP library is translated, which has no code."""


def test_every_coined_code_is_listed():
    for path, call in calls():
        codes = COINED.get(code_of_call(call), {})
        for argument in call.args[:2] if codes else ():
            value = getattr(argument, "value", "")
            if isinstance(value, str) and " " not in value and value not in SEVERITIES:
                assert value in codes, (path, call.lineno, value)


SEVERITIES = ("error", "warning", "")


def sentences_in(node: ast.AST) -> Iterator[str]:
    """Yield texts of several words that `node` compares something with."""
    operands: list[ast.expr] = []
    if isinstance(node, ast.Compare):
        operands = [node.left, *node.comparators]
    elif isinstance(node, ast.Call) and code_of_call(node) in ("startswith", "endswith", "match"):
        operands = node.args
    for operand in operands:
        for part in ast.walk(operand):
            if isinstance(part, ast.Constant) and isinstance(part.value, str):
                yield part.value


STATES = {
    "not sampled", "bad input", "model changed", "input changed", "canary changed", "too few",
    "too early", "by cohorts", "left out", "component proxy", "cannot be judged",
}  # fmt: skip
"""Values of types, and a part of a command line."""


def test_no_code_reads_a_sentence():
    """Only the sentences of rdv 0.1.0, and those of libraries, are read."""
    found = []
    for path, nodes in sources():
        if path.name in LIBRARIES or path == ROOT / "rdv/rendezvous/messages/codes.py":
            continue
        for node in nodes:
            texts = {text.strip() for text in sentences_in(node)} - STATES
            found += [(path.name, node.lineno, t) for t in texts if re.search(r"[a-z] [a-z]", t)]
    assert found == []


def test_a_line_has_its_code_at_the_end_of_its_first_line():
    assert with_code("a\nb", "disk_full") == "a [disk_full]\nb"
    assert with_code("a", "") == "a"
    record = logging.makeLogRecord({"msg": "%s lost", "args": ("x",), **coded("scores_lost")})
    assert CodeFormatter("%(message)s").format(record) == "x lost [scores_lost]"
    record.exc_text = "Traceback"
    assert CodeFormatter("%(message)s").format(record) == "x lost [scores_lost]\nTraceback"
    plain = logging.makeLogRecord({"msg": "ready"})
    assert CodeFormatter("%(message)s").format(plain) == "ready"


if __name__ == "__main__":
    print(codes_table(), end="")
