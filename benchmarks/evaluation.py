"""Measure evaluation of the log, against pyarrow and against the engine.

    python -m benchmarks.evaluation [requests, default 1000000] [directory]

Every figure has its baseline from the same run: the machine may be noisy, the ratio matters.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path
from time import perf_counter_ns

import numpy as np
import pyarrow as pa
import pyarrow.json as pj

from benchmarks.evaluation_log import MODELS, make_arrivals, make_schedule, write_log
from benchmarks.report import Figure, best_ns, show
from rdv.analysis.dataset.join import Join
from rdv.analysis.dataset.joined import Joined, concat_joined
from rdv.analysis.dataset.notes import Notes
from rdv.analysis.dataset.places import Recorded
from rdv.analysis.metrics import metric_named
from rdv.analysis.optimise.cells import Columns, Study
from rdv.analysis.optimise.scorer import Scorer
from rdv.analysis.optimise.study import search
from rdv.analysis.verify import verify
from rdv.analysis.whatif.arrivals import arrivals_of
from rdv.analysis.whatif.decide import decide_all
from rdv.rendezvous.engine import Engine
from rdv.rendezvous.messages import Request, Score

ENGINE_REQUESTS = 20_000
VERIFY_REQUESTS = 50_000
SCHEDULES = 1_800
RESULT_SCHEMA = pa.schema(
    [
        ("v", pa.int64()),
        ("id", pa.string()),
        ("reply_to", pa.string()),
        ("kind", pa.string()),
        ("result", pa.struct([("score", pa.float64()), ("action", pa.string())])),
        ("schedule", pa.string()),
        ("waited_ms", pa.float64()),
        ("model", pa.string()),
        ("version", pa.string()),
        ("step", pa.int64()),
    ]
)


def parse(directory: Path) -> None:
    """Parse all lines of input, scores and results by pyarrow, without `arrived`, which has mixed
    types.
    """
    options = pj.ParseOptions(explicit_schema=RESULT_SCHEMA, unexpected_field_behavior="ignore")
    for name in ("input", "scores", "results"):
        for path in sorted((directory / name).glob("*/*/*.jsonl")):
            pj.read_json(path, parse_options=options if name == "results" else None)


def join(directory: Path) -> Joined:
    with Recorded(str(directory)) as recorded:
        return concat_joined(list(Join(recorded)))


def engine_ns(joined: Joined) -> float:
    """Return the ns for one request and its scores, by the engine alone: nothing is read or
    parsed.
    """
    schedule = make_schedule()
    engine = Engine("here/boot", {"live": schedule}, "live", MODELS)
    work: list[tuple[Request, list[tuple[int, Score]]]] = []
    for row in range(min(ENGINE_REQUESTS, len(joined))):
        scores = [
            (int(joined.arrival_us[n, row]) * 1000, score)
            for n in range(len(joined.models))
            if (score := joined.score(n, row)) is not None
        ]
        work.append((joined.request(row), sorted(scores, key=lambda item: item[0])))
    start = perf_counter_ns()
    for number, (request, reports) in enumerate(work, start=1):
        now_ns = number * 10**9
        engine.request(request, now_ns)
        for at_ns, score in reports:
            engine.score(score, now_ns + at_ns)
        engine.tick(now_ns + 10**8)
    return (perf_counter_ns() - start) / len(work)


def study(count: int) -> Study:
    arrivals = make_arrivals(count)
    chance = np.random.default_rng(2)
    shares = np.array([0.95, 0.9, 0.8, 0.3])[:, None]
    right = (chance.random((4, count)) < shares).astype(np.float32)
    return Study(Columns(arrivals, right), Scorer(metric_named("accuracy")), "gbm", 0, 1, Notes())


def run(directory: Path, count: int) -> list[Figure]:
    write_log(directory, count)
    parse_ns = best_ns(lambda: parse(directory), 2)
    join_ns = best_ns(lambda: join(directory), 2)
    joined = join(directory)
    assert len(joined) == count
    size = sum(path.stat().st_size for path in directory.glob("*/*/*/*.jsonl"))
    per_request = engine_ns(joined)
    arrivals = arrivals_of(joined)
    rule_ns = best_ns(lambda: decide_all(make_schedule(), arrivals))
    again = decide_all(make_schedule(), arrivals)
    same = float(((again.at_us / 1000 == joined.waited_ms) & (again.kind == joined.kind)).mean())
    whole_ns = best_ns(lambda: decide_all(make_schedule(), arrivals_of(joined)), 3)
    columns = study(count)
    start = perf_counter_ns()
    found = search(columns, make_schedule(), p99_ms_max=None, tries=SCHEDULES)
    search_s = (perf_counter_ns() - start) / 1e9
    until_ns = int(joined.append_ns[min(VERIFY_REQUESTS, count - 1)])
    with Recorded(str(directory)) as recorded:
        start = perf_counter_ns()
        verified = verify(recorded, until_ns=until_ns)
        verify_s = (perf_counter_ns() - start) / 1e9
    assert not verified.differing
    engine_ratio = per_request * count / whole_ns
    return [
        Figure(
            f"join, {count:,} requests, {size / 1e9:.2f} GB",
            f"{join_ns / 1e9:.1f} s",
            f"pyarrow parses the same lines in {parse_ns / 1e9:.1f} s ({join_ns / parse_ns:.2f}×)",
            "≤ 3×",
            join_ns <= 3 * parse_ns,
        ),
        Figure(
            f"what-if of one schedule, {count:,} joined requests ({same:.2%} as recorded)",
            f"{whole_ns / 1e9:.3f} s (the rule alone {rule_ns / 1e9:.3f} s)",
            f"the engine, {per_request / 1000:.1f} µs each ({engine_ratio:.0f}×)",
            "< 0.5 s, ≥ 50×",
            whole_ns < 5e8 and engine_ratio >= 50,
        ),
        Figure(
            f"optimise, {found.tried:,} schedules, {count:,} requests in {found.cells:,} cells",
            f"{search_s:.1f} s ({found.tried / search_s * 60:,.0f} a minute)",
            f"one schedule after another {rule_ns * found.tried / 1e9:.0f} s",
            "≥ 1,000 a minute",
            found.tried / search_s * 60 >= 1_000,
        ),
        Figure(
            "verify, reading included",
            f"{verified.requests / verify_s:,.0f} decisions/s",
            f"the engine alone {1e9 / per_request:,.0f}/s",
            "-",
            holds=True,
        ),
    ]


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    parent = sys.argv[2] if len(sys.argv) > 2 else None
    directory = Path(tempfile.mkdtemp(prefix="rdv-bench-", dir=parent))
    try:
        figures = run(directory, count)
    finally:
        shutil.rmtree(directory)
    show("Learning from the log, three models", figures)


if __name__ == "__main__":
    main()
