"""Run a small decision over real processes, with clients that keep all their answers."""

from __future__ import annotations

import http.client
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import orjson
from forked import Forked, start_component
from ports import free_port
from waiting import DEADLINE_S

from rdv.analysis.dataset.places import Recorded
from rdv.analysis.errors import NothingRecorded
from rdv.analysis.verify import verify
from rdv.stream import open_stream

MODELS = ("gbm", "mlp", "fast")

SCHEDULE = """
sla_ms = 60
default = { score = 0.0, by = "default" }
[[step]]
until_ms = 30
accept = ["gbm"]
[[step]]
until_ms = 50
accept = ["gbm", "mlp"]
[[step]]
accept = ["*"]
"""

# The request says what the model does: {"gbm": "exit"} is for gbm only, {"all": "nan"} for all.
MODEL = """
import ctypes, os, time
version = "1"

def act(what):
    if what == "exit":
        os._exit(3)
    if what == "segfault":
        ctypes.string_at(0)
    if what == "hang":
        time.sleep(3600)
    if what == "sleep":
        time.sleep(0.2)
    if what == "raise":
        raise ValueError("no such luck")
    if what == "print":
        print("a model that prints")
        os.write(1, b"to the descriptor, too\\n")

def predict(rows):
    results = []
    for row in rows:
        what = row.get("{name}") or row.get("all") if isinstance(row, dict) else ""
        act(what)
        results.append({{"score": float("nan") if what == "nan" else 0.5, "by": "{name}"}})
    if any(isinstance(row, dict) and row.get("{name}") == "short" for row in rows):
        return results[:-1]
    return results
"""


HOLDER = """
import fcntl, os, sys
for path in sys.argv[1:]:
    fcntl.flock(os.open(path, os.O_RDWR), fcntl.LOCK_EX)
print("held", flush=True)
sys.stdin.read()
"""


@contextmanager
def held(*paths: Path, is_stopped: bool = False) -> Iterator[None]:
    """Hold the flocks of these files in another process for the duration of a block."""
    command = [sys.executable, "-S", "-c", HOLDER, *map(str, paths)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        try:
            assert holder.stdout is not None
            assert holder.stdout.readline() == b"held\n"
            if is_stopped:
                holder.send_signal(signal.SIGSTOP)
            yield
        finally:
            holder.kill()


def write_decision(
    directory: Path, *, proxies: int = 1, http: str = "", more: str = "", model: str = ""
) -> int:
    """Write the files of a decision with three models; return its first port."""
    port = free_port(proxies)
    (directory / "models").mkdir(parents=True)
    (directory / "schedules").mkdir()
    (directory / "schedules" / "production.toml").write_text(SCHEDULE)
    tables = "".join(f'[models.{m}]\npath = "models/{m}.py"\n{model}\n' for m in MODELS)
    text = f"[http]\nport = {port}\nproxies = {proxies}\n{http}\n{more}\n{tables}"
    (directory / "rdv.toml").write_text(text)
    for name in MODELS:
        (directory / "models" / f"{name}.py").write_text(MODEL.format(name=name))
    return port


class Decision:
    """Run the processes of a decision; `start` does not wait for them, `await_ready` does."""

    def __init__(self, directory: Path, port: int) -> None:
        self.directory, self.port = directory, port
        self.processes: dict[str, Forked | subprocess.Popen[bytes]] = {}
        self._streams = ExitStack()
        control = self._streams.enter_context(open_stream(str(directory / "control")))
        self._news = self._streams.enter_context(control.consumer(["status"], start="latest"))
        self._ready: set[tuple[str, int]] = set()

    def start(self, *names: str) -> None:
        """Start processes; a name is `server`, `proxy-0`, `proxy-1`, or that of a model."""
        for name in names:
            role, _, number = name.partition("-")
            arguments = [role, str(self.directory)]
            if role in MODELS:
                arguments = ["worker", str(self.directory), role]
            if number:
                arguments += ["--index", number]
            self.processes[name] = self.start_process(name, arguments)

    def start_process(self, name: str, arguments: list[str]) -> Forked | subprocess.Popen[bytes]:
        """Start `rdv component` with `arguments` as the process `name`."""
        command = self.command(name, ["component", *arguments])
        if command is None:
            return start_component(arguments)
        nothing = subprocess.DEVNULL
        return subprocess.Popen(command, stdout=nothing, stderr=nothing)

    def command(self, name: str, arguments: list[str]) -> list[str] | None:
        """Return the command line that runs rdv with `arguments`; None for a fork of rdv."""
        del name, arguments
        return None

    def await_ready(self, *names: str) -> None:
        wanted = {self.processes[name].pid for name in names or self.processes}
        end_s = time.monotonic() + DEADLINE_S
        while not wanted <= {pid for _, pid in self._ready}:
            assert time.monotonic() < end_s, f"not ready: {names}"
            for record in self._news.poll(timeout=0.2):
                line = orjson.loads(record.value)
                if line["state"] == "ready":
                    self._ready.add((line["name"], line["pid"]))
            for name in names:
                assert self.processes[name].poll() is None, f"{name} has ended"

    def signal(self, name: str, signum: int) -> None:
        self.processes[name].send_signal(signum)

    def kill(self, *names: str) -> None:
        for name in names:
            self.signal(name, signal.SIGKILL)
        for name in names:
            self.processes.pop(name).communicate()

    def restart(self, *names: str) -> None:
        self.start(*names)
        self.await_ready(*names)

    def close(self) -> None:
        for process in self.processes.values():
            process.send_signal(signal.SIGCONT)
            process.terminate()
        for process in self.processes.values():
            try:
                process.communicate(timeout=15)
            except subprocess.TimeoutExpired:
                process.kill()
                process.communicate()
        self._streams.close()
        self.prove()

    # Reading what is recorded.

    def prove(self) -> None:
        """Check that the engine reproduces every recorded decision, whatever the test has done."""
        with Recorded(str(self.directory)) as recorded, suppress(NothingRecorded):
            assert verify(recorded).differences == []

    def lines(self, stream: str, topics: list[str] | None = None) -> list[tuple[str, bytes]]:
        with open_stream(str(self.directory / stream)) as opened, opened.consumer(topics) as reader:
            found: list[tuple[str, bytes]] = []
            while records := reader.poll(10_000):
                found += [(record.topic, record.value) for record in records]
            return found

    def stories(self) -> dict[str, dict]:
        """Return the recorded result of each answered request; the proxy's own takes precedence."""
        stories: dict[str, dict] = {}
        own: set[str] = set()
        for topic, value in self.lines("results"):
            try:
                line = orjson.loads(value)
            except orjson.JSONDecodeError:
                continue
            is_own = topic.endswith(".proxy")
            key = line["id"]
            if is_own or key not in own:
                assert not (is_own and key in own), f"two backstops for {key}"
                assert is_own or key not in stories, f"two results for {key}"
                stories[key] = line
            if is_own:
                own.add(key)
        return stories

    def reports(self, model: str) -> dict[str, dict]:
        """Return the first report of a model on each request, by id."""
        found: dict[str, dict] = {}
        for _, value in self.lines("scores", [model]):
            try:
                line = orjson.loads(value)
            except orjson.JSONDecodeError:
                continue
            found.setdefault(line["id"], line)
        return found


class Client:
    """A client sends its requests on one kept-alive connection."""

    def __init__(self, port: int) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=DEADLINE_S)

    def post(
        self, body: object, headers: dict[str, str] | None = None, path: str = "/v1/decide"
    ) -> tuple[int, dict]:
        """Return the status and JSON of an answer; a body other than bytes is sent as JSON."""
        raw = body if isinstance(body, bytes) else orjson.dumps(body)
        headers = {"Content-Type": "application/json", **(headers or {})}
        self._connection.request("POST", path, raw, headers)
        response = self._connection.getresponse()
        self.headers = response.headers
        return response.status, orjson.loads(response.read())

    def get(self, path: str) -> tuple[int, dict]:
        self._connection.request("GET", path)
        response = self._connection.getresponse()
        return response.status, orjson.loads(response.read())

    def close(self) -> None:
        self._connection.close()

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Load:
    """Run clients that send requests without a pause, each to one proxy; they reconnect."""

    def __init__(self, ports: list[int], clients: int = 4) -> None:
        self._ports = ports
        self._news = threading.Condition()
        self._stop = False
        self.answers: list[dict] = []
        self.refusals: Counter[int] = Counter()
        self.broken: Counter[int] = Counter()
        self._threads = [
            threading.Thread(target=self._ask, args=(ports[n % len(ports)], n), daemon=True)
            for n in range(clients)
        ]

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop = True
        for thread in self._threads:
            thread.join(DEADLINE_S)
            assert not thread.is_alive(), "a request was never answered"

    def _ask(self, port: int, number: int) -> None:
        client = Client(port)
        while not self._stop:
            try:
                status, answer = client.post({"data": {"n": number}, "key": f"user-{number}"})
            except (OSError, http.client.HTTPException):
                client.close()
                client = Client(port)
                with self._news:
                    self.broken[port] += 1
                    self._news.wait(0.02)  # avoids a busy loop while the proxy does not listen
                continue
            with self._news:
                if status == 200:
                    self.answers.append({**answer, "port": port, "client": number})
                else:
                    self.refusals[status] += 1
                self._news.notify_all()
        client.close()

    def until(self, wanted, what: str, since: int | None = None) -> int:
        """Wait for an answer after number `since` (default: from now on) that is `wanted`.

        Returns its number.
        """
        with self._news:
            at = len(self.answers) if since is None else since
            end_s = time.monotonic() + DEADLINE_S
            while True:
                while at < len(self.answers):
                    at += 1
                    if wanted(self.answers[at - 1]):
                        return at
                assert time.monotonic() < end_s, f"no answer that is {what}"
                self._news.wait(0.5)

    def more(self, count: int = 30) -> None:
        """Wait for `count` more answers."""
        for _ in range(count):
            self.until(lambda _: True, "any")

    def check(self, decision: Decision, sla_ms: float = 60) -> str:
        """Check that every answer agrees with its record; return a line about late answers."""
        stories = decision.stories()
        for answer in self.answers:
            story = stories[answer["id"]]
            for key in ("kind", "model", "answered_by", "schedule"):
                assert answer[key] == story.get(key, "server" if key == "answered_by" else None)
            assert answer["kind"] in ("preferred", "fallback", "default")
            if answer["kind"] == "default":
                assert answer["model"] is None
                assert answer["result"]["by"] == "default"
            else:
                assert answer["result"]["by"] == answer["model"]
            assert (answer["kind"] == "preferred") == (answer["model"] == "gbm")
        late = [a["waited_ms"] for a in self.answers if a["waited_ms"] > sla_ms + 10]
        worst = max((a["waited_ms"] for a in self.answers), default=0)
        return f"{len(late)} of {len(self.answers)} later than SLA + 10 ms; worst {worst} ms"


def is_default(answer: dict) -> bool:
    return answer["kind"] == "default" and answer["answered_by"] == "proxy"


def is_preferred(answer: dict) -> bool:
    return answer["kind"] == "preferred"
