"""A decision for one benchmark has given models and a schedule; its processes are started one by
one.

The module also drives a load on it. `wholesale`, `instances` and `quorum` use it too.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Self

import orjson

from rdv.stream import open_stream

START_TIMEOUT_S = 60


@dataclass(frozen=True)
class Load:
    """The load of the clients: `rate` requests a second (open loop, Poisson), or `connections` that
    send without a pause.

    One more second before it does not count.
    """

    seconds: float
    rate: float = 0.0
    connections: int = 0
    body: str = '{"data": 1, "key": "user-#"}'
    """The body; "#" becomes a number."""


class Answers(NamedTuple):
    """What the clients received. Latencies are in milliseconds, from the scheduled send."""

    requests: int
    per_s: float
    by_model: dict[str, int]
    """The number of answers by model; "default" is the schedule's default."""
    failed: int
    late: int
    """How many answers came later than SLA + 10 ms."""
    p50_ms: float
    p99_ms: float
    p999_ms: float

    def share(self, model: str) -> float:
        return self.by_model.get(model, 0) / max(1, self.requests)


class Reports(NamedTuple):
    """What a model reported in the scores stream."""

    results: int
    refusals: int
    queue_ms: tuple[float, float]
    """p50 and p99 of the results, in ms: from the append of the request to its evaluation."""
    batch: float
    """The number of rows of a batch, averaged over the results."""


class Staged:
    """The decision's processes, until the end of the block."""

    def __init__(
        self,
        models: Mapping[str, tuple[str, str]],
        schedule: str,
        *,
        instances: Mapping[str, int] | None = None,
        settings: str = "",
    ) -> None:
        """Write the decision's files. `models` has code and settings by name; `settings` begins
        rdv.toml.
        """
        self._temporary = tempfile.TemporaryDirectory(prefix="rdv-bench-")
        self.directory = Path(self._temporary.name, "bench")
        self.port = _free_port()
        self._processes: list[subprocess.Popen[bytes]] = []
        self._commands = [["server"], ["proxy"]] + [
            ["worker", name, "--number", str(number)]
            for name in models
            for number in range((instances or {}).get(name, 1))
        ]
        for folder in ("models", "schedules"):
            (self.directory / folder).mkdir(parents=True)
        text = f"{settings}\n[http]\nport = {self.port}\nin_flight_max = 20000\n"
        for name, (code, more) in models.items():
            (self.directory / "models" / f"{name}.py").write_text(code)
            text += f'[models.{name}]\npath = "models/{name}.py"\n{more}\n'
        (self.directory / "rdv.toml").write_text(text)
        (self.directory / "schedules" / "production.toml").write_text(schedule)

    def __enter__(self) -> Self:
        for role, *rest in self._commands:
            command = [sys.executable, "-m", "rdv", "component", role, str(self.directory), *rest]
            one_thread = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
            env = {**os.environ, **one_thread, "RDV_LOGGING": "WARNING"}
            self._processes.append(subprocess.Popen(command, env=env))
        ready: set[int] = set()
        with open_stream(str(self.directory / "control")) as control, control.consumer() as news:
            for _ in range(START_TIMEOUT_S * 5):
                for record in news.poll(timeout=0.2):
                    line = orjson.loads(record.value)
                    if line.get("state") == "ready":
                        ready.add(line["pid"])
                if len(ready) == len(self._processes):
                    return self
        self.__exit__()
        raise SystemExit("the decision did not start")

    def __exit__(self, *_: object) -> None:
        for process in self._processes:
            process.terminate()
        for process in self._processes:
            try:
                process.wait(timeout=5)
            except subprocess.TimeoutExpired:  # with when_behind = "all" it still has a backlog
                process.kill()
                process.wait()
        self._temporary.cleanup()

    def drive(self, load: Load, sla_ms: float) -> Answers:
        """Run the clients in a process of their own."""
        work = {**load.__dict__, "port": self.port, "sla_ms": sla_ms}
        command = [sys.executable, "-m", "benchmarks.overload_client", json.dumps(work)]
        done = subprocess.run(command, stdout=subprocess.PIPE, check=True)
        return Answers(**json.loads(done.stdout))

    def reports(self, model: str) -> Reports:
        """Return the reports on all requests so far."""
        lines = [orjson.loads(value) for value in self._values("scores", [model])]
        results = [line for line in lines if "result" in line]
        queues = sorted(line["queue_ms"] for line in results) or [0.0]
        sizes = sum(line.get("batch_size", 1) for line in results) / max(1, len(results))
        middle, high = (queues[int(part * (len(queues) - 1))] for part in (0.5, 0.99))
        return Reports(len(results), len(lines) - len(results), (middle, high), sizes)

    def results(self) -> list[dict[str, Any]]:
        """Return everything in the results stream."""
        return [orjson.loads(value) for value in self._values("results", None)]

    def _values(self, stream: str, topics: Sequence[str] | None) -> list[bytes]:
        with (
            open_stream(str(self.directory / stream)) as opened,
            opened.consumer(topics) as reader,
        ):
            found: list[bytes] = []
            while records := reader.poll(10_000):
                found += [record.value for record in records]
            return found


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
