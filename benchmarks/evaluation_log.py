"""A recorded decision for benchmarks has three models, and lines as the components write them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import orjson

from rdv.analysis.whatif.arrivals import FOREVER_US, KEY_BITS, NEVER_KEY, Arrivals
from rdv.analysis.whatif.decide import decide_all
from rdv.rendezvous.messages import make_request_id
from rdv.rendezvous.schedule import Schedule, schedule_from_object
from rdv.stream import open_stream

MODELS = ("gbm", "logit", "rules")
MEANS_MS = (18, 9, 2)
SLICE = 1_000
GAP_NS = 1_000_000
BEGIN_NS = 1_700_000_000 * 10**9
PREFIX = b"0123456789"
STEP_ENDS_US = (30_000, 45_000, 50_000)
DATA = '{"amount":12.5,"country":"DE","history":[1,0,0,3,1],"merchant":"m-1842"}'


def make_schedule() -> Schedule:
    steps = [
        {"until_ms": 30, "accept": ["gbm"]},
        {"until_ms": 45, "accept": ["gbm", "logit"]},
        {"accept": ["*"]},
    ]
    return schedule_from_object({"sla_ms": 50, "default": {"score": 0}, "step": steps}, "live")


def make_arrivals(count: int, seed: int = 1) -> Arrivals:
    chance = np.random.default_rng(seed)
    at_us = np.stack([500 + chance.exponential(ms * 1000, count) for ms in MEANS_MS])
    key = (at_us.astype(np.int64) << KEY_BITS) | np.arange(3)[:, None]
    key[chance.random((3, count)) < 0.001] = NEVER_KEY
    is_answer = (chance.random((3, count)) < 0.97) & (key < NEVER_KEY)
    ones, zeros = np.ones(3, bool), np.zeros(3, bool)
    return Arrivals(MODELS, key, is_answer, np.full(count, FOREVER_US), ones, zeros)


class Clock:
    def __init__(self) -> None:
        self.now_ns = BEGIN_NS

    def wall_ns(self) -> int:
        return self.now_ns

    def monotonic_ns(self) -> int:
        return self.now_ns


def write_log(directory: Path, count: int) -> None:
    """Write `count` requests, nearly all scored by all models, decided by the schedule."""
    schedule, arrivals = make_schedule(), make_arrivals(count)
    decided = decide_all(schedule, arrivals)
    clock = Clock()
    streams = [
        open_stream(str(directory / name), clock=clock) for name in ("input", "scores", "results")
    ]
    control = open_stream(str(directory / "control"), clock=clock)
    line = {
        "time_ns": BEGIN_NS,
        "name": "live",
        "hash": schedule.content_hash,
        "schedule": {
            "sla_ms": 50.0,
            "default": {"score": 0},
            "step": [
                {"until_ms": 30.0, "accept": ["gbm"]},
                {"until_ms": 45.0, "accept": ["gbm", "logit"]},
                {"accept": ["*"]},
            ],
        },
    }
    with control, control.producer() as producer:
        producer.send("schedule", orjson.dumps(line) + b"\n")
    producers = [stream.producer() for stream in streams]
    for start in range(0, count, SLICE):
        rows = range(start, min(start + SLICE, count))
        clock.now_ns = BEGIN_NS + start * GAP_NS
        producers[0].send_many("p-8100", [_request(row) for row in rows])
        for number, model in enumerate(MODELS):
            there = [row for row in rows if arrivals.key[number, row] < NEVER_KEY]
            lines = [_score(model, row, bool(arrivals.is_answer[number, row])) for row in there]
            producers[1].send_many(model, lines)
        keys = arrivals.key[:, rows.start : rows.stop].T.tolist()
        answers = arrivals.is_answer[:, rows.start : rows.stop].T.tolist()
        producers[2].send_many(
            "p-8100",
            [
                _result(row, decided, schedule.label, keys[row - start], answers[row - start])
                for row in rows
            ],
        )
    for producer, stream in zip(producers, streams, strict=True):
        producer.close()
        stream.close()


def _request(row: int) -> bytes:
    at_ns = BEGIN_NS + row * GAP_NS
    return (
        f'{{"v":1,"id":"{make_request_id(PREFIX, row)}","time_ns":{at_ns},"host":"here/boot",'
        f'"monotonic_ns":{at_ns - BEGIN_NS},"reply_to":"p-8100","data":{DATA},'
        f'"key":"user-{row % 9973}","deadline_ms":50.0}}\n'
    ).encode()


def _answer(model: str, row: int) -> str:
    return f'{{"score":{(row * 37 + len(model)) % 1000 / 1000},"action":"pass"}}'


def _score(model: str, row: int, is_answer: bool) -> bytes:
    said = f'"result":{_answer(model, row)}' if is_answer else '"refusal":"behind"'
    return (
        f'{{"v":1,"id":"{make_request_id(PREFIX, row)}","model":"{model}","version":"3",'
        f'"time_ns":{BEGIN_NS + row * GAP_NS},"queue_ms":0.125,"evaluation_ms":1.5,'
        f'"batch_size":4,{said}}}\n'
    ).encode()


def _end_key(at_us: int, winner: int, keys: list[int]) -> int:
    """Return the key below which every arrival was there by the decision."""
    if winner >= 0 and keys[winner] >> KEY_BITS == at_us:
        return keys[winner] + 1
    if at_us in STEP_ENDS_US:
        return at_us << KEY_BITS
    return max(key for key in keys if key >> KEY_BITS == at_us) + 1  # a refusal ended the step


def _result(row: int, decided: Any, label: str, keys: list[int], answers: list[bool]) -> bytes:
    at_us, number = int(decided.at_us[row]), int(decided.model[row])
    kind = ("", "preferred", "fallback", "default")[int(decided.kind[row])]
    seen = sorted((k, n) for n, k in enumerate(keys) if k < _end_key(at_us, number, keys))
    arrived = ",".join(
        f'["{MODELS[n]}",{(k >> KEY_BITS) / 1000},"{"result" if answers[n] else "behind"}"]'
        for k, n in seen
    )
    answer = _answer(MODELS[number], row) if number >= 0 else '{"score":0}'
    by = f'"model":"{MODELS[number]}","version":"3",' if number >= 0 else ""
    return (
        f'{{"v":1,"id":"{make_request_id(PREFIX, row)}","reply_to":"p-8100","kind":"{kind}",'
        f'"result":{answer},"schedule":"{label}","waited_ms":{at_us / 1000},{by}'
        f'"step":{int(decided.step[row])},"arrived":[{arrived}]}}\n'
    ).encode()
