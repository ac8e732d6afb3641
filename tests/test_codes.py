"""Check that every code is in the list of CODES.md, which `make codes` writes."""

from __future__ import annotations

import ast
import importlib
import pkgutil
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import rdv
from rdv.codes import HTTP_CODES, REPORT_CODES, RESULT_CODES, HttpCode, ReportCode, ResultCode
from rdv.commands.exits import EXIT_CODES
from rdv.errors import HTTP_STATUSES, RdvError, code_of

ROOT = Path(__file__).parent.parent
HEAD = """# Codes

Programs read the code, people read the sentence beside it. A code never changes its name or its meaning; this list only grows. It is made by `make codes`.
"""  # noqa: E501


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
    for meaning in [*RESULT_CODES.values(), *REPORT_CODES.values()]:
        assert meaning.endswith(".")


def test_codes_md_is_the_list():
    assert (ROOT / "CODES.md").read_text() == codes_table(), "run `make codes` and commit CODES.md"


def test_codes_of_errors_are_unique():
    codes = [code_of(error) for error in error_classes()]
    assert sorted(set(codes)) == codes
    assert all(code.isascii() and code.replace("_", "").isalnum() for code in codes)


def test_every_http_error_has_its_listed_status():
    """Each `Failure(status, code, …)` in the source is in the list with that status."""
    found = set()
    for path in sorted((ROOT / "rdv").rglob("*.py")):
        text = path.read_text()
        for node in ast.walk(ast.parse(text)) if "Failure(" in text else ():
            if not isinstance(node, ast.Call) or len(node.args) < 2:
                continue
            name = node.func.attr if isinstance(node.func, ast.Attribute) else ""
            name = node.func.id if isinstance(node.func, ast.Name) else name
            status, code = node.args[:2]
            if name == "Failure" and isinstance(code, ast.Constant):
                found.add(code.value)
                if isinstance(status, ast.Constant):
                    assert HTTP_CODES[code.value][0] == status.value, (path, code.value)
    assert found == set(HTTP_CODES)


if __name__ == "__main__":
    print(codes_table(), end="")
