"""The pictures of README.md, from a real run: `make pictures` writes docs/pictures/*.svg.

A decision is made in a temporary directory, served, and asked. The terminal's output becomes an SVG
by rich; the report's chart is taken out of the page that `rdv compare --html` writes.
"""

from __future__ import annotations

import os
import pty
import re
import shlex
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.terminal_theme import DIMMED_MONOKAI
from rich.text import Text

OUT = Path(__file__).parent / "pictures"
COLUMNS = 116
PAYMENT = '{"amount": 912.5, "mean_amount_30d": 40, "card_present": false, "device_age_days": 0.5}'


def shell(command: str, place: Path, environment: dict[str, str]) -> str:
    """Run a command on a terminal of its own; returns what it shows, colours included."""
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        shlex.split(command), cwd=place, env=environment, stdin=theirs, stdout=theirs, stderr=theirs
    ):
        os.close(theirs)
        shown = b""
        while chunk := _read(ours):
            shown += chunk
    os.close(ours)
    return shown.decode().replace("\r\n", "\n")


def _read(descriptor: int) -> bytes:
    try:
        return os.read(descriptor, 65_536)
    except OSError:  # the other side has closed it
        return b""


@contextmanager
def served(place: Path, environment: dict[str, str]) -> Iterator[None]:
    """A decision that answers."""
    with (place / "serve.log").open("wb") as log:
        server = subprocess.Popen(
            ["rdv", "serve", "fraud"], cwd=place, env=environment, stdout=log, stderr=log
        )
    try:
        while b" answers at " not in (place / "serve.log").read_bytes():
            if server.poll() is not None:
                raise SystemExit((place / "serve.log").read_text())
            time.sleep(0.1)
        yield
    finally:
        server.terminate()
        server.wait()


def terminal_picture(lines: list[tuple[str, str]], path: Path) -> None:
    """Commands and what they showed, as rich draws a terminal."""
    console = Console(record=True, width=COLUMNS, file=open(os.devnull, "w"), force_terminal=True)  # noqa: SIM115
    for command, shown in lines:
        console.print(Text(f"$ {command}", style="bold green"))
        console.print(Text.from_ansi(shown.rstrip("\n")))
        console.print()
    svg = console.export_svg(title="rdv", theme=DIMMED_MONOKAI, unique_id="rdv")
    # No fonts from the network: a page that shows the picture stays by itself.
    path.write_text(re.sub(r"@font-face \{.*?\}\s*", "", svg, flags=re.DOTALL), encoding="utf-8")


def report_picture(page: str, path: Path) -> None:
    """The first chart of a report, by itself."""
    found = re.search(r"<svg .*?</svg>", page, re.DOTALL)
    assert found is not None
    style = "".join(re.findall(r"<style>(.*?)</style>", page, re.DOTALL))
    head, _, rest = found[0].partition(">")
    backdrop = '<rect width="100%" height="100%" fill="white"/>'
    path.write_text(f"{head}><style>{style}</style>{backdrop}{rest}\n", encoding="utf-8")


def main() -> None:
    """Run a decision and draw it."""
    OUT.mkdir(exist_ok=True)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    binaries = str(Path(sys.executable).parent)
    environment = os.environ | {
        "PATH": f"{binaries}{os.pathsep}{os.environ['PATH']}",
        "RDV_HTTP_PORT": str(port),
        "TERM": "xterm-256color",
        "COLUMNS": str(COLUMNS),
    }
    with tempfile.TemporaryDirectory() as home:
        place = Path(home)
        subprocess.run(["rdv", "init", "fraud", "-q"], cwd=place, env=environment, check=True)
        with served(place, environment):
            load = ["rdv", "load", "fraud", "--rate", "150", "--duration", "8s", "-q"]
            subprocess.run(load, cwd=place, env=environment, check=True)
            asked = subprocess.run(
                ["rdv", "ask", "fraud", PAYMENT],
                cwd=place,
                env=environment,
                check=True,
                capture_output=True,
            )
            time.sleep(1)  # the scores of the slower models are on record, too
            request = re.findall(rb'"id":"([0-9a-f]+)"', asked.stdout)[0].decode()
            commands = ["rdv schedule show fraud", f"rdv explain fraud {request[-6:]}"]
            shown = [(command, shell(command, place, environment)) for command in commands]
            terminal_picture(shown, OUT / "terminal.svg")
            compare = ["rdv", "compare", "fraud", "mlp", "logit", "--html", "report.html", "-q"]
            subprocess.run(compare, cwd=place, env=environment, check=True, capture_output=True)
            report_picture((place / "report.html").read_text(encoding="utf-8"), OUT / "report.svg")


if __name__ == "__main__":
    main()
