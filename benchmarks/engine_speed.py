"""Measure the engine and its messages in microseconds; compare within one run only.

    python benchmarks/engine_speed.py [ROUNDS]

The figures are CPU time, the median and the best of rounds of 1,000 decisions each: a request and
three scores in, a result out. In "first" the champion comes first, before two late scores; in
"last" it comes last.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable

import msgspec

from rdv.rendezvous.engine import Engine
from rdv.rendezvous.messages import (
    Request,
    Score,
    decode_request,
    decode_result,
    decode_score,
    encode_request,
    encode_result,
    encode_score,
    make_request_id,
)
from rdv.rendezvous.schedule import Schedule, schedule_from_object

DECISIONS = 1_000
GAP_NS = 50_000
HOST = "here/boot"
BODY = msgspec.Raw(b'{"amount":12.5,"country":"DE","history":[1,0,0,3,1],"merchant":"m-1842"}')
ANSWER = msgspec.Raw(b'{"score":0.125,"action":"pass"}')


def make_schedule() -> Schedule:
    steps = [
        {"until_ms": 30, "accept": ["gbm"]},
        {"until_ms": 45, "accept": ["gbm", "logit"]},
        {"accept": ["*"]},
    ]
    return schedule_from_object({"sla_ms": 50, "default": {"score": 0}, "step": steps}, "live")


Work = list[tuple[Request, list[Score]]]


def make_work(start: int, now_ns: int, models: list[str]) -> Work:
    work = []
    for number in range(DECISIONS):
        id_ = make_request_id(b"0123456789", start + number)
        at_ns = now_ns + number * GAP_NS
        request = Request(id_, at_ns, HOST, at_ns, "p-8100", BODY, key="user-17")
        scores = [Score(id_, model, "3", at_ns, 0.125, 1.5, 4, ANSWER) for model in models]
        work.append((request, scores))
    return work


def run_engine(models: list[str], rounds: int) -> list[float]:
    engine = Engine(HOST, {"live": make_schedule()}, "live", ["gbm", "logit", "rules"])
    times, now_ns = [], 0
    for number in range(rounds):
        work = make_work(number * DECISIONS, now_ns, models)
        answered = 0
        begin = time.process_time()
        for request, scores in work:
            now_ns += GAP_NS
            engine.request(request, now_ns)
            for score in scores:
                answered += len(engine.score(score, now_ns))
        times.append((time.process_time() - begin) / DECISIONS * 1e6)
        assert answered == DECISIONS
        engine.tick(now_ns)
    return times


def run_messages(rounds: int) -> list[float]:
    engine = Engine(HOST, {"live": make_schedule()}, "live")
    request, scores = make_work(0, 0, ["gbm", "logit", "rules"])[0]
    engine.request(request, 0)
    (result,) = engine.score(scores[0], 1_000_000)

    def there_and_back() -> None:
        decode_request(encode_request(request))
        for score in scores:
            decode_score(encode_score(score))
        decode_result(encode_result(result))

    return [timed(there_and_back) for _ in range(rounds)]


def timed(call: Callable[[], None]) -> float:
    begin = time.process_time()
    for _ in range(DECISIONS):
        call()
    return (time.process_time() - begin) / DECISIONS * 1e6


def run_tick(count: int = 1_000_000) -> tuple[float, float]:
    """Return the µs to open one of a million open mailboxes, and the µs to end one at its SLA."""
    engine = Engine(HOST, {"live": make_schedule()}, "live")
    requests = (
        Request(make_request_id(b"0123456789", n), n, HOST, n * 10, "p", BODY) for n in range(count)
    )
    begin = time.process_time()
    for number, request in enumerate(requests):
        engine.request(request, number * 10)
    opened = time.process_time()
    assert engine.open_count == count
    assert len(engine.tick(10**9)) == count
    return (opened - begin) / count * 1e6, (time.process_time() - opened) / count * 1e6


def main() -> None:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 50
    figures = {
        "engine, champion first": run_engine(["gbm", "logit", "rules"], rounds),
        "engine, champion last": run_engine(["rules", "logit", "gbm"], rounds),
        "messages, encode + decode all five": run_messages(rounds),
    }
    print(f"{'µs per decision':<36}{'median':>8}{'best':>8}")
    for name, times in figures.items():
        print(f"{name:<36}{statistics.median(times):>8.2f}{min(times):>8.2f}")
    opening, ending = run_tick()
    print(f"a million open mailboxes: {opening:.2f} µs to make and open, {ending:.2f} µs to end")


if __name__ == "__main__":
    main()
