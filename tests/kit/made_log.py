"""Make decisions in real streams with a simulated clock, decided by the real engine."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import orjson
from fake_clock import FakeClock

from rdv.rendezvous.engine import Engine
from rdv.rendezvous.messages import (
    Request,
    Result,
    Score,
    encode_request,
    encode_result,
    encode_score,
    make_request_id,
)
from rdv.rendezvous.schedule import Schedule, schedule_from_object
from rdv.stream import StreamConfig, open_stream

HOST = "here/boot"
PREFIX = b"0123456789"
BEGIN_NS = 1_700_000_000 * 10**9
LAG_NS = 300_000
"""The time from the append of a score until the server reads it, in nanoseconds."""
MODELS = ("gbm", "logit", "rules")

DEFAULT_ANSWER = {"score": 0.0, "action": "review"}

PRODUCTION = schedule_from_object(
    {
        "sla_ms": 50,
        "default": {"score": 0.0, "action": "review"},
        "step": [
            {"until_ms": 30, "accept": ["gbm"]},
            {"until_ms": 45, "accept": ["gbm", "logit"]},
            {"accept": ["*"]},
        ],
    },
    "production",
)


@dataclass
class MadeRequest:
    """A request has a time, and each model's report with its time (ms after the request)."""

    number: int
    at_ms: float
    reports: list[tuple[float, Score]]
    asked: str | dict | None = None
    deadline_ms: float | None = 50.0
    cohort: str | None = None
    not_asked: tuple[str, ...] = ()
    key: str = ""
    propensity: float | None = None

    @property
    def id(self) -> str:
        return make_request_id(PREFIX, self.number)

    @property
    def wall_ns(self) -> int:
        return BEGIN_NS + int(self.at_ms * 1e6)

    def message(self) -> Request:
        return Request(
            id=self.id,
            time_ns=self.wall_ns,
            host=HOST,
            monotonic_ns=10**12 + int(self.at_ms * 1e6),
            reply_to="p-1",
            data=msgspec.Raw(b'{"n":%d}' % self.number),
            key=self.key or f"user-{self.number % 211}",
            schedule=self.asked,
            deadline_ms=self.deadline_ms,
            cohort=self.cohort,
            propensity=self.propensity,
            not_asked=list(self.not_asked),
        )


@dataclass
class MadeLog:
    """A log has requests, and their results once `decide` or `write` was called."""

    requests: list[MadeRequest]
    schedules: dict[str, Schedule] = field(default_factory=lambda: {"production": PRODUCTION})
    live: str = "production"
    partitions: int = 1
    results: dict[str, Result] = field(default_factory=dict)

    def decide(self) -> list[tuple[int, str, str, int, bytes]]:
        """Return all records as (wall ns, stream, topic, partition, line), sorted by time."""
        records = []
        for made in self.requests:
            engine = Engine(HOST, self.schedules, self.live, MODELS)
            request = made.message()
            start_ns, partition = request.monotonic_ns, made.number % self.partitions
            appended_ns = made.wall_ns + 100_000
            records.append((appended_ns, "input", "p-1", partition, encode_request(request)))
            found = engine.request(request, start_ns + 200_000)
            for at_ms, score in sorted(made.reports, key=lambda report: report[0]):
                at_ns = start_ns + int(at_ms * 1e6)
                while not found and (due := engine.next_deadline()) is not None and due <= at_ns:
                    found += engine.tick(due)
                found += engine.score(score, at_ns)
                wall_ns = made.wall_ns + int(at_ms * 1e6) - LAG_NS
                records.append((wall_ns, "scores", score.model, partition, encode_score(score)))
            while not found:
                found += engine.tick(engine.next_deadline())
            (result,) = found
            self.results[made.id] = result
            told_ns = made.wall_ns + int(result.waited_ms * 1e6) + 50_000
            records.append((told_ns, "results", "p-1", 0, encode_result(result)))
        return sorted(records, key=lambda record: record[0])

    def is_live(self, schedule: Schedule) -> bool:
        return schedule is self.schedules[self.live]

    def write(self, directory: Path, **more) -> Path:
        """Write everything; `more` are settings of the streams, such as segment_bytes."""
        clock = FakeClock(BEGIN_NS)
        records = self.decide()
        config = StreamConfig(partitions=self.partitions, **more)
        for name in ("input", "scores", "results", "control"):
            with (
                open_stream(str(directory / name), config=config, clock=clock) as stream,
                stream.producer() as producer,
            ):
                if name == "control":
                    # The live one comes last, as a server records them.
                    for schedule in sorted(self.schedules.values(), key=self.is_live):
                        producer.send("schedule", schedule_line(schedule), partition=0)
                for wall_ns, where, topic, partition, line in records:
                    if where == name:
                        clock.move_to(wall_ns)
                        producer.send(topic, line, partition=partition)
            clock.move_to(BEGIN_NS)
        return directory


def schedule_line(schedule: Schedule) -> bytes:
    line = {
        "time_ns": BEGIN_NS,
        "name": schedule.name,
        "hash": schedule.content_hash,
        "schedule": msgspec.to_builtins(schedule),
    }
    return orjson.dumps(line) + b"\n"


def make_score(id_: str, model: str, **said) -> Score:
    said = said or {"result": msgspec.Raw(b'{"score":0.5,"action":"pass"}')}
    return Score(id=id_, model=model, version="1", time_ns=0, **said)


def make_requests(count: int, seed: int = 1, gap_ms: float = 2.0) -> list[MadeRequest]:
    """Make requests whose champion is usually in time, but sometimes late, refusing or silent."""
    chance = random.Random(seed)
    return [_request(number, number * gap_ms, chance) for number in range(count)]


def _request(number: int, at_ms: float, chance: random.Random) -> MadeRequest:
    id_ = make_request_id(PREFIX, number)
    reports = []
    for model, mean_ms in zip(MODELS, (18, 9, 2), strict=True):
        if chance.random() < 0.05:
            continue
        said: dict = {}
        luck = chance.random()
        if luck < 0.05:
            said = {"refusal": chance.choice(["behind", "expired", "not sampled"])}
        elif luck < 0.08:
            said = {"error": "boom"}
        else:
            action = "pass" if (number % 3) or model == "rules" else "block"
            answer = {"score": round(chance.random(), 3), "action": action}
            said = {"result": msgspec.Raw(orjson.dumps(answer))}
        at_ms_ = round(0.5 + chance.expovariate(1 / mean_ms), 3)
        reports.append((at_ms_, make_score(id_, model, **said)))
    return MadeRequest(number, at_ms, reports)


INLINE = {"sla_ms": 20, "default": "no", "step": [{"accept": ["rules"]}]}
FAST = schedule_from_object(
    {"sla_ms": 25, "default": {"action": "review"}, "step": [{"accept": ["rules", "logit"]}]},
    "fast",
)
QUORUM = schedule_from_object(
    {
        "sla_ms": 40,
        "default": {"action": "review"},
        "step": [
            {"until_ms": 20, "accept": ["*"], "need": "all", "combine": "mean"},
            {"accept": ["*"], "need": 0.6, "combine": "vote", "on": "action"},
        ],
    },
    "quorum",
)


def varied(count=400):
    """Return a log with all kinds of requested schedules, SLAs and cohorts."""
    requests = make_requests(count)
    wishes = [None, None, "fast", "quorum", "unknown", INLINE, {"step": 1}]
    for made in requests:
        made.asked = wishes[made.number % len(wishes)]
        made.deadline_ms = [50.0, 12.0, None, 0.1][made.number % 4]
        made.cohort = "b" if made.asked == "fast" else None
    log = MadeLog(requests)
    log.schedules |= {"fast": FAST, "quorum": QUORUM}
    return log
