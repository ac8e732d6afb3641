"""Man pages from the command line itself: `make man` writes build/man/man1/rdv.1 and rdv-*.1."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from command_tree import CommandPage, command_pages

import rdv

OUT = Path(__file__).parent.parent / "build" / "man" / "man1"


def man_page(page: CommandPage) -> str:
    """One command as troff, by the macros of man(7)."""
    name = page.name.replace(" ", "-")
    lines = [
        f'.TH "{name.upper()}" "1" "" "rdv {rdv.__version__}" "rdv"',
        ".ad l",
        ".SH NAME",
        f"{_plain(name)} \\- {_plain(page.summary.rstrip('.'))}",
        ".SH SYNOPSIS",
        f".B {_plain(page.usage)}",
        ".SH DESCRIPTION",
        *_paragraphs(page.help),
    ]
    for title, records in (
        ("ARGUMENTS", page.arguments),
        ("OPTIONS", page.options),
        ("COMMANDS", page.commands),
    ):
        if records:
            lines.append(f".SH {title}")
            for term, text in records:
                lines += [".TP", f".B {_plain(term)}", _plain(text)]
    if page.examples:
        lines += [".SH EXAMPLES", ".nf", *map(_plain, page.examples), ".fi"]
    lines += [".SH SEE ALSO", *_see_also(page)]
    return "\n".join(lines) + "\n"


def _see_also(page: CommandPage) -> list[str]:
    parent, _, _ = page.name.rpartition(" ")
    near = [f"{page.name} {name}" for name, _ in page.commands] or [parent]
    return [", ".join(f"{_plain(name.replace(' ', '-'))}(1)" for name in near)]


def _paragraphs(text: str) -> list[str]:
    lines = []
    for paragraph in text.split("\n\n"):
        kept = any(line.startswith(" ") for line in paragraph.splitlines())
        lines.append(".PP")
        lines += [".nf"] if kept else []
        lines += [_plain(line) for line in paragraph.splitlines()]
        lines += [".fi"] if kept else []
    return lines[1:]


def _plain(text: str) -> str:
    """The same text for troff: backslashes, hyphens and a leading dot mean something to it."""
    text = text.replace("\\", "\\e").replace("-", "\\-").replace("…", "...")
    return f"\\&{text}" if text.startswith((".", "'")) else text


def write_pages(out: Path) -> list[Path]:
    """Write a page for each command and group; returns the files."""
    out.mkdir(parents=True, exist_ok=True)
    written = []
    for page in command_pages():
        path = out / f"{page.name.replace(' ', '-')}.1"
        path.write_text(man_page(page), encoding="utf-8")
        written.append(path)
    return written


if __name__ == "__main__":
    files = write_pages(OUT)
    print(f"{len(files)} pages in {OUT.parent}: man -M {OUT.parent} rdv")  # noqa: T201
