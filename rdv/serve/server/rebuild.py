"""Restores the state of a starting server: open requests, and their scores.

So a killed server loses only the time of its restart. Records are added with their original times,
so that the engine decides as it would have done: the champion's score that came at 10 ms is
preferred, whatever came after it. That time is the monotonic one that the request carries; for a
score, the time from the request's append to its own is added, if that is plausible: when a wall
clock was set back or ahead in between, the score counts as having come just now.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rdv.clock import Clock
from rdv.decision.streams import Streams
from rdv.rendezvous.deadlines import is_given_up
from rdv.rendezvous.engine import Engine
from rdv.rendezvous.messages import (
    MalformedMessage,
    Request,
    Result,
    Score,
    decode_request,
    decode_result,
    decode_score,
)
from rdv.serve.feeds import Losses, read_all
from rdv.stream import Consumer, Recent

READ_RECORDS = 5_000


@dataclass(frozen=True)
class Rebuilt:
    """Holds consumers that go on where the rebuild ended, and what it decided."""

    input: Consumer
    scores: Consumer
    results: list[Result]


def rebuild(
    streams: Streams,
    engine: Engine,
    partitions: Sequence[int],
    host: str,
    clock: Clock,
    window_ms: int,
    losses: Losses,
) -> Rebuilt:
    """Fill the engine with what the last `window_ms` of the log have left open.

    What cannot be read is noted in `losses`, and skipped.
    """
    since = Recent(window_ms)
    scores = streams.scores.consumer(partitions=partitions, start=since)
    input_ = streams.input.consumer(partitions=partitions, start=since)
    _remember_answers(streams, engine, since, clock.monotonic_ns(), losses)
    # Scores first: if a request is found here without its score, the score is read later.
    reported = _scores(scores, engine, losses)
    opened = _open_requests(input_, engine, host, clock, losses)
    now_ns, wall_ns = clock.monotonic_ns(), clock.wall_ns()
    began: dict[str, tuple[int, int]] = {}
    events: list[tuple[int, int, Request | Score]] = []
    for append_ns, request in opened:
        at_ns = now_ns - _passed_ns(append_ns, wall_ns, window_ms * 1_000_000)
        if request.host == host:
            at_ns = request.monotonic_ns
        at_ns = max(0, min(at_ns, now_ns))
        began.setdefault(request.id, (at_ns, append_ns))
        events.append((at_ns, 0, request))
    for append_ns, score in reported:
        if score.id in began:
            start_ns, asked_ns = began[score.id]
            at_ns = start_ns + _passed_ns(asked_ns, append_ns, now_ns - start_ns, now_ns - start_ns)
            events.append((at_ns, 1, score))
    events.sort(key=lambda event: event[:2])
    results: list[Result] = []
    for at_ns, _, message in events:
        if isinstance(message, Request):
            results += engine.request(message, at_ns)
        else:
            results += engine.score(message, at_ns)
    return Rebuilt(input_, scores, results)


def _passed_ns(from_ns: int, to_ns: int, most_ns: int, otherwise_ns: int = 0) -> int:
    """Return the time between two wall times; if it is implausible, return `otherwise_ns`."""
    passed_ns = to_ns - from_ns
    return passed_ns if 0 <= passed_ns <= most_ns else otherwise_ns


def _remember_answers(
    streams: Streams, engine: Engine, since: Recent, now_ns: int, losses: Losses
) -> None:
    """Tell the engine what an earlier server or a proxy's backstop has answered."""
    with streams.results.consumer(start=since) as consumer:
        for record in read_all(consumer, READ_RECORDS, losses):
            try:
                engine.already_answered(decode_result(record.value).id, now_ns)
            except MalformedMessage:
                engine.count_malformed()


def _scores(consumer: Consumer, engine: Engine, losses: Losses) -> list[tuple[int, Score]]:
    found: list[tuple[int, Score]] = []
    for record in read_all(consumer, READ_RECORDS, losses):
        try:
            score = decode_score(record.value)
        except MalformedMessage:
            engine.count_malformed()
            continue
        if score.model == record.topic:
            found.append((record.timestamp_ns, score))
        else:  # a worker may only report for its own model
            engine.count_malformed()
    return found


def _open_requests(
    consumer: Consumer, engine: Engine, host: str, clock: Clock, losses: Losses
) -> list[tuple[int, Request]]:
    """Return the requests that a proxy may still wait for; mark the others as answered."""
    found: list[tuple[int, Request]] = []
    for record in read_all(consumer, READ_RECORDS, losses):
        try:
            request = decode_request(record.value)
        except MalformedMessage:
            engine.count_malformed()
            continue
        now_ns = clock.monotonic_ns()
        if is_given_up(request, host, now_ns):
            engine.already_answered(request.id, now_ns)
        else:
            found.append((record.timestamp_ns, request))
    return found
