"""Record what really happened, in true time, for the oracle."""

from __future__ import annotations

from dataclasses import dataclass, field

import msgspec
import orjson

from rdv.rendezvous.messages import Request, Result, Score
from rdv.stream.record import TopicPartition
from simulator.scheduler import Process, Scheduler

_request = msgspec.json.Decoder(Request).decode
_score = msgspec.json.Decoder(Score).decode
_result = msgspec.json.Decoder(Result).decode


@dataclass
class Logged:
    """Describe a record of the log: its value, its place, and when it could first be seen."""

    at_ns: int
    place: TopicPartition
    offset: int
    value: bytes
    message: object = None
    by: Process | None = None
    """The process that appended it."""


@dataclass
class Asked:
    """Describe a client's request, as seen from outside."""

    number: int
    proxy: object
    """The process that took it."""
    received_ns: int
    deadline_ms: float | None
    client: str
    answers: list[tuple[int, int, dict]] = field(default_factory=list)
    """(when, status, body)."""
    has_left: bool = False
    """The client has left without its answer; none is sent from then on."""


class Ledger:
    """Hold all records by stream, and all requests by number."""

    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler = scheduler
        self.asked: dict[int, Asked] = {}
        self.refused_connections = 0
        self.requests: dict[str, Logged] = {}
        self.numbers: dict[int, Logged] = {}
        self.scores: dict[tuple[str, str], list[Logged]] = {}
        self.results: dict[str, list[Logged]] = {}
        self.own_answers: dict[str, list[Logged]] = {}
        self.news: dict[int, Logged] = {}
        self.ends: dict[tuple[str, TopicPartition], int] = {}
        self.gaps: list[str] = []
        self.moved: set[str] = set()
        """Streams whose directories were replaced: their offsets may have changed."""

    def appended(self, stream: str, place: TopicPartition, offset: int, values) -> list[Logged]:
        now_ns = self._scheduler.now_ns
        records = []
        if self.ends.get((stream, place), 0) != offset and stream not in self.moved:
            self.gaps.append(f"{stream}/{place}: {offset} after {self.ends.get((stream, place))}")
        self.ends[stream, place] = offset + len(values)
        for number, value in enumerate(values):
            logged = Logged(now_ns, place, offset + number, value, by=self._scheduler.process)
            records.append(logged)
            if stream == "input":
                logged.message = message = _request(value)
                self.requests[message.id] = logged
                self.numbers[number_of(bytes(message.data))] = logged
            elif stream == "scores":
                logged.message = message = _score(value)
                self.scores.setdefault((message.id, message.model), []).append(logged)
            elif stream == "results":
                logged.message = message = _result(value)
                books = self.own_answers if place.topic.endswith(".proxy") else self.results
                books.setdefault(message.id, []).append(logged)
            elif place.topic == "models":
                logged.message = orjson.loads(value)
                self.news[logged.offset] = logged
        return records


def number_of(data: bytes) -> int:
    """Return the request number in a body's data."""
    return orjson.loads(data)["n"]
