"""Compare a worker that evaluates a library's model file with calling the library itself.

    python -m benchmarks.kinds [rows, default 12800]

For each kind of model file a worker process reads requests from a stream, in batches of 64, and
writes its scores to another. Its baseline, in the same run and one after the other, is the library
called with batches of 64 that are arrays already: it reads no JSON, makes no array, and writes no
results. Times are CPU times of the process, so that other work on the machine does not count.

All have 30 columns and one thread: LightGBM and XGBoost 500 trees of 63 leaves, ONNX networks of
30 × 1024 × 1024 and of 30 × 256 × 64, scikit-learn 200 boosted trees over data frames. Where the
library takes a few µs for a row, reading and writing JSON and the log is the larger part.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.update(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1")

import asyncio
import signal

import msgspec
import numpy as np
import orjson

from benchmarks.report import Figure, show
from rdv.rendezvous.messages import Request, encode_request, make_request_id
from rdv.serve.supervisor.starter import Starter
from rdv.stream import open_stream
from rdv.system.child import ChildProcess

BATCH, COLUMNS = 64, 30
BOUND = 0.7
BOUND_FOR = ("lightgbm", "onnx")
ROUNDS = 3
WAIT_S = 120
NAMES = [f"feature_{number}" for number in range(COLUMNS)]

Call = Callable[[np.ndarray], object]


def data_of(rows: int) -> tuple[np.ndarray, np.ndarray]:
    chance = np.random.default_rng(1)
    x = chance.normal(size=(rows, COLUMNS)).round(4)
    return x, (x[:, 0] + x[:, 1] * x[:, 2] + chance.normal(size=rows) > 0).astype(int)


def lightgbm(place: Path, x: np.ndarray, y: np.ndarray) -> tuple[str, Call]:
    import lightgbm as library  # type: ignore[import-untyped,unused-ignore]

    settings = {"objective": "binary", "num_leaves": 63, "num_threads": 1, "verbose": -1}
    data = library.Dataset(x, y, feature_name=NAMES)
    library.train(settings, data, 500).save_model(place / "model.txt")
    booster = library.Booster(model_file=place / "model.txt")
    return "model.txt", lambda batch: booster.predict(batch, num_threads=1)


def xgboost(place: Path, x: np.ndarray, y: np.ndarray) -> tuple[str, Call]:
    import xgboost as library

    settings = {"objective": "binary:logistic", "max_depth": 6, "nthread": 1}
    data = library.DMatrix(x, y, feature_names=NAMES)
    library.train(settings, data, 500).save_model(place / "model.ubj")
    booster = library.Booster({"nthread": 1}, model_file=place / "model.ubj")
    return "model.ubj", lambda batch: booster.inplace_predict(batch, validate_features=False)


def onnx(
    place: Path, x: np.ndarray, y: np.ndarray, layers: tuple[int, ...] = (1024, 1024)
) -> tuple[str, Call]:
    import onnxruntime  # type: ignore[import-untyped,unused-ignore]
    from skl2onnx import to_onnx  # type: ignore[import-untyped,unused-ignore]
    from sklearn.neural_network import MLPClassifier  # type: ignore[import-untyped,unused-ignore]

    warnings.simplefilter("ignore")  # one iteration: only its size matters
    network = MLPClassifier(layers, max_iter=1).fit(x[:500], y[:500])
    content = to_onnx(network, x[:1].astype("f4"), options={"zipmap": False})
    (place / "model.onnx").write_bytes(content.SerializeToString())
    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(
        place / "model.onnx", settings, providers=["CPUExecutionProvider"]
    )
    return "model.onnx", lambda batch: session.run(None, {"X": batch.astype("f4")})


def small(place: Path, x: np.ndarray, y: np.ndarray) -> tuple[str, Call]:
    return onnx(place, x, y, (256, 64))


def estimator(x: np.ndarray, y: np.ndarray) -> tuple[Any, Call]:
    import pandas as pd  # type: ignore[import-untyped,unused-ignore]
    from sklearn.ensemble import HistGradientBoostingClassifier  # type: ignore[import-untyped,unused-ignore]

    model = HistGradientBoostingClassifier(max_iter=200).fit(pd.DataFrame(x, columns=NAMES), y)
    return model, lambda batch: model.predict_proba(pd.DataFrame(batch, columns=NAMES))


def sklearn(place: Path, x: np.ndarray, y: np.ndarray) -> tuple[str, Call]:
    import joblib  # type: ignore[import-untyped,unused-ignore]

    model, call = estimator(x, y)
    joblib.dump(model, place / "model.joblib")
    return "model.joblib", call


KINDS = {
    "lightgbm": lightgbm,
    "xgboost": xgboost,
    "onnx": onnx,
    "onnx, a small one": small,
    "sklearn": sklearn,
}


def library_rate(call: Call, x: np.ndarray) -> float:
    """Return the rows per CPU second of the library itself."""
    batches = [x[at : at + BATCH] for at in range(0, len(x), BATCH)]
    for batch in batches[:10]:
        call(batch)
    began_ns = time.process_time_ns()
    for batch in batches:
        call(batch)
    return len(x) / (time.process_time_ns() - began_ns) * 1e9


def cpu_ns(pid: int) -> int:
    """Return the CPU time of all threads of a process."""
    tasks = Path(f"/proc/{pid}/task").iterdir()
    return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks)


class Decision:
    """A decision with one model, whose worker runs until the end of the block."""

    def __init__(self, place: Path, path: str, kind: str) -> None:
        self.directory = str(place)
        self._asked = 0
        columns = f"columns = {orjson.dumps(NAMES).decode()}\n" if kind.startswith("onnx") else ""
        (place / "schedules").mkdir()
        (place / "rdv.toml").write_text(
            f'partitions = 1\n[models.it]\npath = "{path}"\nwhen_behind = "all"\n'
            f"batch_max = {BATCH}\n[models.it.options]\n{columns}"
        )
        (place / "schedules/production.toml").write_text(
            'sla_ms = 60000\ndefault = {}\n[[step]]\naccept = ["it"]\n'
        )
        self._starter = Starter()
        asyncio.run(self._starter.ready())
        self._process = self._starter.start(["worker", self.directory, "it"], (), ChildProcess)
        with open_stream(str(place / "control")) as control, control.consumer() as news:
            self._until(
                lambda: any(
                    orjson.loads(record.value).get("state") == "ready"
                    for record in news.poll(timeout=0.2)
                )
            )

    def _until(self, is_reached: Callable[[], bool]) -> None:
        until_s = time.monotonic() + WAIT_S
        while not is_reached():
            if time.monotonic() > until_s:
                raise SystemExit(f"the worker of {self.directory} does not answer")

    def rate(self, lines: list[bytes]) -> float:
        """Return the rows per CPU second of the worker, for all that it does."""
        began_ns = cpu_ns(self._process.pid)
        requests = self._requests(lines)
        place = os.path.join(self.directory, "scores")
        with (
            open_stream(os.path.join(self.directory, "input")) as stream,
            stream.producer() as producer,
        ):
            producer.send_many("p-1", requests, partition=0)
        with open_stream(place) as scores, scores.consumer(topics=["it"]) as reader:
            seen: list[bytes] = []

            def all_there() -> bool:
                time.sleep(0.05)  # a wake-up for each batch would take the worker's processor
                while records := reader.poll(10_000, timeout=0):
                    seen.extend(record.value for record in records)
                return len(seen) >= self._asked

            self._until(all_there)
        found = [orjson.loads(line) for line in seen[-len(lines) :]]
        assert all("result" in one for one in found), found[0]
        return len(found) / (cpu_ns(self._process.pid) - began_ns) * 1e9

    def _requests(self, lines: list[bytes]) -> list[bytes]:
        now_ns, first = time.time_ns(), self._asked
        self._asked += len(lines)
        return [
            encode_request(
                Request(
                    make_request_id(b"0123456789", first + number),
                    now_ns,
                    "host/boot",
                    first + number,
                    "p-1",
                    msgspec.Raw(line),
                    deadline_ms=60_000.0,
                )
            )
            for number, line in enumerate(lines)
        ]

    def __enter__(self) -> Decision:
        return self

    def __exit__(self, *_: object) -> None:
        self._starter.close()
        os.kill(self._process.pid, signal.SIGTERM)
        os.waitpid(self._process.pid, 0)
        os.close(self._process.stdin)
        os.close(self._process.stdout)


def figure_of(kind: str, rows: int) -> Figure:
    """Measure one kind: the best of the rounds, worker and library in turn."""
    x, _ = data_of(rows)
    lines = [orjson.dumps(dict(zip(NAMES, row, strict=True))) for row in x.tolist()]
    with tempfile.TemporaryDirectory(prefix="rdv-kinds-") as directory:
        place = Path(directory)
        path, call = KINDS[kind](place, *data_of(5000))
        with Decision(place, path, kind) as decision:
            decision.rate(lines[: BATCH * 20])
            rounds = [(decision.rate(lines), library_rate(call, x)) for _ in range(ROUNDS)]
    worker, library = (max(column) for column in zip(*rounds, strict=True))
    bound = BOUND if kind in BOUND_FOR else 0
    return Figure(
        f"{kind}: 0 lines of glue",
        f"{worker:,.0f} rows/s, {1e6 / worker:.1f} µs a row, {worker / library:.0%}",
        f"{library:,.0f} rows/s, {1e6 / library:.1f} µs",
        f"{bound:.0%}" if bound else "-",
        worker >= bound * library,
    )


def main() -> None:
    rows = int(sys.argv[1]) if len(sys.argv) > 1 else 12_800
    show("kinds of models", [figure_of(kind, rows) for kind in KINDS])


if __name__ == "__main__":
    main()
