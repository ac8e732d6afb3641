"""Run every command, Python block and file of README.md and docs/ with real processes.

Each page is one test in its own directory. In a fenced block `console`, lines that begin with `$ `
are commands. The other lines are their output, of which each word has to be printed (numbers and
identifiers differ). A block with `title="FILE"` is written to that file first; `(add)` appends to
it. `<!-- snippets: fraud served traffic -->` declares what the page starts with. A block below
`<!-- not run: why -->` is not run.
"""

import contextlib
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from ports import free_port

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
RUN = ("console", "python", "sh", "toml", "ini", "text")
TIMEOUT_S = 300

_BLOCK = re.compile(
    r"(?P<skip><!-- not run: [^>]+ -->\n)?^```(?P<kind>\w+)?(?P<info>[^\n]*)\n(?P<body>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)
_TITLE = re.compile(r'title="(?P<path>[^" ]+)(?P<add> \(add\))?"')
_WORD = re.compile(r"[A-Za-z_]{3,}")
_ID = re.compile(r"\b[0-9a-f]{32}\b")


def blocks(page):
    """Return (kind, title, body) of each block that is run."""
    found = []
    for match in _BLOCK.finditer(page.read_text()):
        assert match["kind"], f"{page.name}: a block without a language:\n{match['body'][:80]}"
        if not match["skip"]:
            found.append((match["kind"], _TITLE.search(match["info"]), match["body"]))
    return found


def needs(page):
    wanted = re.search(r"^<!-- snippets: ([\w ]+) -->$", page.read_text(), re.MULTILINE)
    return wanted[1].split() if wanted else []


def give_time(place):
    """Multiply the schedules' times by ten, so that the champion answers on a busy machine."""
    for path in place.glob("**/schedules/*.toml"):
        path.write_text(with_time(path.read_text()))


def with_time(text):
    return re.sub(r"^((?:sla|until)_ms = )(\d+)$", r"\g<1>\g<2>0", text, flags=re.MULTILINE)


class Reader:
    """A reader types what a page says, in the page's own directory."""

    def __init__(self, place):
        self.place = place
        self.port = free_port()
        self.last_id = ""
        self.servers = []
        binaries = str(Path(sys.executable).parent)
        self.environment = {
            **os.environ,
            "PATH": f"{binaries}{os.pathsep}{os.environ['PATH']}",
            "RDV_HTTP_PORT": str(self.port),
            "COLUMNS": "200",
        }

    def write(self, title, body):
        path = self.place / title["path"]
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a" if title["add"] else "w") as file:
            file.write(("\n" if title["add"] else "") + with_time(self.meant(body)))

    def meant(self, text):
        return re.sub(r"\bID\b", self.last_id or "ID", text).replace(":8100", f":{self.port}")

    def serve(self, command):
        log = self.place / f"serve-{len(self.servers)}.log"
        with log.open("w") as file:
            server = subprocess.Popen(
                command.split(), cwd=self.place, env=self.environment, stdout=file, stderr=file,
                stdin=subprocess.DEVNULL,
            )  # fmt: skip
        self.servers.append(server)
        ends = time.monotonic() + TIMEOUT_S
        while " answers at " not in (said := log.read_text()):
            assert server.poll() is None, said
            assert time.monotonic() < ends, said
            time.sleep(0.05)
        return said

    def type(self, commands):
        """Run lines of shell; return what they print."""
        done = subprocess.run(
            ["bash", "-c", self.meant(commands)], cwd=self.place, env=self.environment, check=False,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            timeout=TIMEOUT_S,
        )  # fmt: skip
        if ids := _ID.findall(done.stdout):
            self.last_id = ids[-1]
        assert done.returncode == 0, f"$ {commands}\n{done.stdout}"
        if commands.startswith("rdv init "):
            give_time(self.place)
        return done.stdout

    def console(self, body):
        """Run commands and check their output. After a `&`, those up to `$ wait` share a shell."""
        for commands, expected in conversations(body):
            run = self.serve if commands.startswith("rdv serve ") else self.type
            said = run(f"set -e\n{commands}" if "\n" in commands else commands)
            missing = set(_WORD.findall(plain(expected))) - set(_WORD.findall(plain(said)))
            assert not missing, f"$ {commands}\nprints no {sorted(missing)}:\n{said}"

    def close(self):
        for server in self.servers:
            with contextlib.suppress(ProcessLookupError):
                server.send_signal(signal.SIGTERM)
        for server in self.servers:
            server.wait(TIMEOUT_S)


def plain(text):
    """Remove what differs from run to run: ids, hashes and versions."""
    return re.sub(r"@[0-9a-f]{6,}|\b[0-9a-f]{32}\b|-[0-9a-f]{8}\b|…", " ", text)


def conversations(body):
    """Return each (commands, output); after a `&`, the commands up to `$ wait` belong together."""
    found, background = [], False
    for line in body.splitlines():
        if line.startswith("$ "):
            if background:
                found[-1][0].append(line[2:])
                background = line != "$ wait"
            else:
                found.append(([line[2:]], []))
                background = line.endswith(" &")
        else:
            found[-1][1].append(line)
    return [("\n".join(commands), "\n".join(printed)) for commands, printed in found]


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    "page", [p for p in PAGES if blocks(p)], ids=lambda p: p.relative_to(ROOT).as_posix()
)
def test_every_snippet_runs(page, trained, tmp_path):
    wanted = needs(page)
    reader = Reader(tmp_path)
    try:
        if "fraud" in wanted:
            give_time(trained.copy("fraud", tmp_path / "fraud"))
        if "served" in wanted:
            reader.serve("rdv serve fraud")
        if "traffic" in wanted:
            reader.type("rdv load fraud --rate 150 --duration 2s; rdv ask fraud '{\"amount\": 5}'")
        for kind, title, body in blocks(page):
            if title:
                reader.write(title, body)
            elif kind == "console":
                reader.console(body)
            elif kind == "sh":
                reader.type(f"set -e\n{body}")
            elif kind == "python":
                subprocess.run(
                    [sys.executable, "-W", "error", "-c", reader.meant(body)], cwd=tmp_path,
                    env=reader.environment, check=True, timeout=TIMEOUT_S, capture_output=True,
                )  # fmt: skip
    finally:
        reader.close()


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.relative_to(ROOT).as_posix())
def test_no_command_hides_in_a_block_that_is_not_run(page):
    text = page.read_text()
    assert not re.findall(r"^(?: {4}|\t)(?:\$ |rdv |curl |pip )", text, re.MULTILINE)
    for kind, title, body in blocks(page):
        if kind not in ("console", "sh") and not title:
            assert not re.findall(r"^(?:\$ )?(?:rdv|curl|pip) ", body, re.MULTILINE), body


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.relative_to(ROOT).as_posix())
def test_blocks_have_a_language_that_is_run_or_drawn(page):
    assert {kind for kind, _, _ in blocks(page)} <= {*RUN, "mermaid", "json", "yaml"}
