"""Write a regression run as Markdown (for a pull request) or JUnit XML (for a CI server)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any
from xml.etree import ElementTree as ET

from rdv.analysis.charts.format import cell
from rdv.analysis.regress.limits import Check
from rdv.analysis.regress.result import Regression
from rdv.analysis.whatif import view

_MARKS = {"held": "✅", "broken": "❌", "cannot be judged": "❓"}
_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_SPECIAL = re.compile(r"([\\`*_\[\]<>|~#@])")


def markdown(found: Regression, decision: str) -> str:
    """Return the comment for a pull request. Everything that comes from the log is escaped."""
    verdict = "all limits are held" if found.is_held else "limits are broken"
    if not found.checks:
        verdict = "no limit was given"
    mark = _MARKS["held" if found.is_held else "broken"] if found.checks else "ℹ️"
    title = f"### {mark} rdv regress {_text(decision)}: {verdict}"
    about = f"{_text(found.whatif.schedule.label)}, {found.whatif.recorded.requests:,} requests"
    parts = [title, about]
    if found.checks:
        rows = [
            [f"{_MARKS[one.verdict]} {one.verdict}", one.name, one.text] for one in found.checks
        ]
        parts.append(_table(["", "limit", "what was found"], rows))
    parts.append("\n".join(f"- {_text(sentence)}" for sentence in found.sentences()))
    parts.append(_table(*view.figures_table(found.whatif)))
    if found.worst:
        parts.append("<details><summary>The requests that change most</summary>")
        parts += [_table(*found.worst_table()), "</details>"]
    if caveats := found.caveats():
        parts.append("<details><summary>What limits these figures</summary>")
        parts += ["\n".join(f"- {_text(line)}" for line in caveats), "</details>"]
    return "\n\n".join(parts) + "\n"


def junit(found: Regression, decision: str) -> str:
    """Return the checks as a test suite: one case for each limit."""
    cases = found.checks
    failed = sum(check.verdict == "broken" for check in cases)
    unknown = sum(check.verdict == "cannot be judged" for check in cases)
    name = f"rdv regress {decision}"
    counts = {"tests": str(len(cases)), "failures": str(failed), "errors": str(unknown)}
    root = ET.Element("testsuites", {"name": _xml(name), **counts})
    suite = ET.SubElement(root, "testsuite", {"name": _xml(name), **counts})
    for check in cases:
        _add_case(suite, check, decision)
    out = ET.SubElement(suite, "system-out")
    lines = [*found.sentences(), *found.caveats(), *_worst_lines(found)]
    out.text = _xml("\n".join(lines))
    ET.indent(root)
    text: bytes = ET.tostring(root, encoding="utf-8", xml_declaration=True)
    return text.decode() + "\n"


def _add_case(suite: ET.Element, check: Check, decision: str) -> None:
    names = {"classname": _xml(f"rdv.regress.{decision}"), "name": _xml(check.name)}
    case = ET.SubElement(suite, "testcase", names)
    if check.verdict == "held":
        ET.SubElement(case, "system-out").text = _xml(check.text)
        return
    tag = "failure" if check.verdict == "broken" else "error"
    about = {"message": _xml(check.text), "type": check.verdict}
    ET.SubElement(case, tag, about).text = _xml(check.text)


def _worst_lines(found: Regression) -> list[str]:
    return [
        f"{one.id}: {one.was_model} {one.was_answer} after {one.was_ms:.1f} ms, now {one.model} "
        f"{one.answer} after {one.ms:.1f} ms" + (f"; outcome {one.truth}" if one.truth else "")
        for one in found.worst
    ]


def _xml(text: str) -> str:
    """Replace what XML 1.0 cannot contain."""
    return _NOT_XML.sub("\ufffd", text)


def _text(value: Any) -> str:
    """Return a value as Markdown text: no markup, link, mention or line break of its own."""
    return _SPECIAL.sub(r"\\\1", " ".join(cell(value).split()))


def _table(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join(
        "| " + " | ".join(one if n == 1 else _text(one) for one in line) + " |"
        for n, line in enumerate(lines)
    )
