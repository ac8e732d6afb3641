"""A decision to measure: three networks of 20 × 64 in a temporary directory.

Its processes are started as `rdv serve` does it, but without a supervisor, so that nothing else
runs beside them.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import tempfile
from collections import Counter
from pathlib import Path
from typing import Self

import numpy as np
import orjson

from rdv.serve.supervisor.starter import Starter
from rdv.stream import open_stream
from rdv.system.child import ChildProcess

MODELS = ("gbm", "mlp", "logit")
INPUTS, HIDDEN = 20, 64
START_TIMEOUT_S = 30

MODEL = """
import numpy as np

rng = np.random.default_rng({seed})
W1, B1 = rng.normal(size=({inputs}, {hidden})) / 5, rng.normal(size={hidden})
W2, B2 = rng.normal(size={hidden}) / 8, 0.1
version = "{seed}"


def predict(rows):
    hidden = np.maximum(np.array(rows) @ W1 + B1, 0)
    return [{{"score": s}} for s in (1 / (1 + np.exp(-(hidden @ W2 + B2)))).tolist()]
"""

SCHEDULE = """
sla_ms = 50
default = { score = 0.0, action = "review" }
[[step]]
until_ms = 30
accept = ["gbm"]
[[step]]
until_ms = 45
accept = ["gbm", "mlp"]
[[step]]
accept = ["*"]
"""


def bodies(count: int = 500) -> bytes:
    """Return request bodies, one a line: 20 numbers and a key."""
    numbers = np.random.default_rng(1).normal(size=(count, INPUTS)).round(3).tolist()
    lines = [orjson.dumps({"data": row, "key": f"user-{n}"}) for n, row in enumerate(numbers)]
    return b"\n".join(lines)


class Running:
    """The decision's processes, until the end of the block."""

    def __init__(self, place: str | None = None, settings: str = "") -> None:
        """Write the decision's files. `place` is the parent directory; `settings` are added to
        rdv.toml.
        """
        self._temporary = tempfile.TemporaryDirectory(prefix="rdv-bench-", dir=place)
        self.directory = Path(self._temporary.name, "bench")
        self.port = _free_port()
        self._processes: dict[str, ChildProcess] = {}
        self._write(settings)

    def _write(self, settings: str) -> None:
        (self.directory / "models").mkdir(parents=True)
        (self.directory / "schedules").mkdir()
        tables = "".join(f'[models.{name}]\npath = "models/{name}.py"\n' for name in MODELS)
        text = f"[http]\nport = {self.port}\nin_flight_max = 10000\n{settings}\n{tables}"
        (self.directory / "rdv.toml").write_text(text)
        (self.directory / "schedules" / "production.toml").write_text(SCHEDULE)
        for seed, name in enumerate(MODELS):
            code = MODEL.format(seed=seed, inputs=INPUTS, hidden=HIDDEN)
            (self.directory / "models" / f"{name}.py").write_text(code)

    def __enter__(self) -> Self:
        os.environ.update(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1")
        self._starter = Starter()
        asyncio.run(self._starter.ready())
        self._start("server")
        for name in MODELS:
            self._start("worker", name)
        self._start("proxy")
        wanted = len(self._processes)
        ready: set[str] = set()
        with open_stream(str(self.directory / "control")) as control, control.consumer() as news:
            for _ in range(START_TIMEOUT_S * 5):
                for record in news.poll(timeout=0.2):
                    line = orjson.loads(record.value)
                    if line.get("state") == "ready":
                        ready.add(line["name"])
                if len(ready) == wanted:
                    return self
        self.__exit__()
        raise SystemExit(f"the decision did not start: only {sorted(ready)} are ready")

    def _start(self, *arguments: str) -> None:
        role, *rest = arguments
        started = self._starter.start([role, str(self.directory), *rest], (), ChildProcess)
        self._processes[rest[0] if rest else role] = started

    def cpu_s(self) -> dict[str, float]:
        """Return the CPU time of each process so far, in seconds."""
        return {name: _cpu_s(process.pid) for name, process in self._processes.items()}

    def pids(self) -> dict[str, int]:
        return {name: process.pid for name, process in self._processes.items()}

    def asked(self) -> int:
        """Return the number of requests in the input stream."""
        with open_stream(str(self.directory / "input")) as stream:
            places = ((t, n) for t in stream.topics() for n in range(stream.partitions(t)))
            return sum(stream.end(*place) for place in places)

    def scored(self) -> dict[str, Counter[str]]:
        """Count results, refusals and errors in the scores stream by model, without duplicates."""
        found: dict[str, Counter[str]] = {name: Counter() for name in MODELS}
        ids: set[tuple[str, str]] = set()
        with open_stream(str(self.directory / "scores")) as scores, scores.consumer() as reader:
            while records := reader.poll(10_000):
                for record in records:
                    line = orjson.loads(record.value)
                    if (record.topic, line["id"]) not in ids:
                        ids.add((record.topic, line["id"]))
                        outcome = line.get("refusal") or ("error" if "error" in line else "result")
                        found[record.topic][outcome] += 1
        return found

    def __exit__(self, *_: object) -> None:
        self._starter.close()
        for process in self._processes.values():
            os.kill(process.pid, signal.SIGTERM)
        for process in self._processes.values():
            os.waitpid(process.pid, 0)
            os.close(process.stdin)
            os.close(process.stdout)
        self._temporary.cleanup()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
