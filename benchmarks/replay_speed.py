"""Compare a replay with calling `predict` on prepared batches, in one run.

    python -m benchmarks.replay_speed [requests, default 300000]

There are three models in numpy: `lists`, 20 × 64 over rows that are lists of numbers, which is the
least work that a model can do for a row; `champion`, the sample decision's, 20 × 64 over objects
from which it makes features; `deep`, 20 × 1024 × 1024. In the first two, reading and writing JSON
is the larger part, which no replay can avoid: so there is also `predict` with its JSON, as its
process measures it. `lists` takes less time than reading the log, and shows how quick that is.
numpy has one thread, since two processes share the machine.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from pathlib import Path
from time import perf_counter_ns

os.environ["OPENBLAS_NUM_THREADS"] = "1"

import msgspec
import numpy as np
import orjson

from benchmarks.report import Figure, show
from rdv.analysis.dataset.places import Recorded
from rdv.analysis.replay.compare import compare, extract_for
from rdv.analysis.replay.evaluator import Evaluator, Loading
from rdv.analysis.replay.result import Replayed
from rdv.analysis.replay.rows import Spill
from rdv.analysis.replay.source import InputSource
from rdv.analysis.replay.study import Recorder, replay
from rdv.decision import init_decision
from rdv.decision.outcome import INFERRED
from rdv.models import open_model
from rdv.rendezvous.messages import Request, encode_request, make_request_id
from rdv.stream import open_stream

BATCH = 64
BOUND = 0.8
ROUNDS = 3
BOUND_FOR = ("deep",)
"""Models for which JSON is the smaller part; they are compared with `predict` alone."""

DEEP = """
import numpy as np
version = "1"
chance = np.random.default_rng(1)
w1 = chance.normal(size=(20, 1024)).astype("f4")
w2 = chance.normal(size=(1024, 1024)).astype("f4") / 20
w3 = chance.normal(size=1024).astype("f4") / 20

def predict(rows):
    hidden = np.maximum(np.array(rows, "f4") @ w1, 0)
    hidden = np.maximum(hidden @ w2, 0)
    return [{"score": value} for value in (1 / (1 + np.exp(-(hidden @ w3)))).tolist()]
"""

LISTS = """
import numpy as np
version = "1"
chance = np.random.default_rng(1)
w1, w2 = chance.normal(size=(20, 64)), chance.normal(size=64)

def predict(rows):
    score = 1 / (1 + np.exp(-np.tanh(np.array(rows) @ w1) @ w2))
    return [{"score": value} for value in score.tolist()]
"""


def rows_of(directory: Path, kind: str, count: int) -> tuple[str, list[bytes]]:
    """Return the model's file, and the data of the requests."""
    if kind != "champion":
        (directory / f"{kind}.py").write_text(LISTS if kind == "lists" else DEEP)
        rows = np.random.default_rng(7).normal(size=(count, 20)).round(4).tolist()
        return str(directory / f"{kind}.py"), [orjson.dumps(row) for row in rows]
    made = init_decision(str(directory / "fraud"))
    lines = Path(made.requests).read_bytes().splitlines()
    some = [orjson.dumps(orjson.loads(line)["data"]) for line in lines]
    return str(directory / "fraud/models/mlp.py"), [some[n % len(some)] for n in range(count)]


def write_log(directory: Path, data: list[bytes]) -> None:
    with open_stream(str(directory / "input")) as stream, stream.producer() as producer:
        for at in range(0, len(data), 500):
            now_ns = time.time_ns()
            lines = [
                encode_request(
                    Request(
                        make_request_id(b"0123456789", at + number),
                        now_ns,
                        "host/boot",
                        at + number,
                        "p-1",
                        msgspec.Raw(text),
                        deadline_ms=50.0,
                    )
                )
                for number, text in enumerate(data[at : at + 500])
            ]
            producer.send_many("p-1", lines, partition=0)


def prepared(path: str, data: list[bytes]) -> float:
    """Return the rows per second of `predict` in this process, with rows already parsed and in
    batches.
    """
    model = open_model(".", "model", path=path)
    predict = model._predict  # type: ignore[attr-defined]
    batches = [
        orjson.loads(b"[%b]" % b",".join(data[at : at + BATCH]))
        for at in range(0, len(data), BATCH)
    ]
    for batch in batches[:200]:
        predict(batch)
    began_ns = perf_counter_ns()
    for batch in batches:
        predict(batch)
    return len(data) / (perf_counter_ns() - began_ns) * 1e9


def replayed(directory: Path, path: str) -> tuple[float, float, float]:
    """Return the rows per second of a replay, of its model alone by its own measurement, and with
    comparison.
    """
    began_ns = perf_counter_ns()
    found = Replayed("model", "1")
    spill = Spill()
    with Recorded(str(directory)) as recorded:
        with Evaluator(Loading(str(directory), "model", {"path": path})) as evaluator:
            source = InputSource(recorded, "values", None, None)
            recorder = Recorder(
                found, spill, lambda first: extract_for(first, [], [], INFERRED, "score")
            )
            replay(source, evaluator, recorder, found, batch_max=BATCH)
        assert recorder.extract is not None
        compare(recorded, spill, recorder.extract, None, None)
    spill.close()
    whole_s = (perf_counter_ns() - began_ns) / 1e9
    rate = found.requests / found.seconds
    return rate, found.evaluated / found.evaluation_ns * 1e9, found.requests / whole_s


def figures_of(kind: str, rates: list[float]) -> list[Figure]:
    """Return the best of the rounds: predict alone, replay, the model's process, and all of it."""
    alone, rate, own, whole = rates
    bound = BOUND if kind in BOUND_FOR else 0

    def figure(what: str, value: float, against: float, bound: float) -> Figure:
        text = f"{value:,.0f} rows/s, {value / against:.0%}"
        is_held = value >= bound * against
        return Figure(what, text, f"{against:,.0f}", f"{bound:.0%}" if bound else "-", is_held)

    return [
        figure(f"{kind}: replay / predict alone", rate, alone, bound),
        figure(f"{kind}: replay / predict with its JSON", rate, own, BOUND * (kind != "lists")),
        figure(f"{kind}: with start and comparison / predict alone", whole, alone, 0),
    ]


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 300_000
    figures = []
    for kind in ("lists", "champion", "deep"):
        with tempfile.TemporaryDirectory() as place:
            directory = Path(place)
            path, data = rows_of(directory, kind, count)
            write_log(directory, data)
            rounds = [(prepared(path, data), *replayed(directory, path)) for _ in range(ROUNDS)]
        figures += figures_of(kind, [max(column) for column in zip(*rounds, strict=True)])
    show("replay", figures)


if __name__ == "__main__":
    main()
