"""What a starting server must know of the time before it: open requests, and their scores.

A killed server so loses nothing but the time of its restart. Records are put in at the time of
their append, so that the engine decides as it would have done: the champion's score that came at
10 ms is preferred, whatever came after it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from rdv.clock import Clock
from rdv.components.deadlines import is_given_up
from rdv.components.feeds import read_all
from rdv.components.losses import Losses
from rdv.components.places import Streams
from rdv.messages import (
    MalformedMessage,
    Request,
    Result,
    Score,
    decode_request,
    decode_result,
    decode_score,
)
from rdv.rendezvous import Engine
from rdv.stream import Consumer
from rdv.stream.consumer import LogConsumer

READ_RECORDS = 5_000


@dataclass(frozen=True)
class Rebuilt:
    """Consumers that go on where the rebuild ended, and what it decided."""

    input: LogConsumer
    scores: LogConsumer
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

    What cannot be read is noted in `losses`, and passed over.
    """
    since = timedelta(milliseconds=window_ms)
    scores = streams.scores.consumer(partitions=partitions, start=since)
    input_ = streams.input.consumer(partitions=partitions, start=since)
    _remember_answers(streams, engine, since, clock.monotonic_ns(), losses)
    # Scores first: a request that is found here, but not its score, gets that later.
    reported = _scores(scores, engine, losses)
    opened = _open_requests(input_, engine, host, clock, losses)
    wanted = {request.id for _, request in opened}
    events: list[tuple[int, int, Request | Score]] = [(at, 0, request) for at, request in opened]
    events += [(at, 1, score) for at, score in reported if score.id in wanted]
    events.sort(key=lambda event: event[:2])
    now_ns, wall_ns = clock.monotonic_ns(), clock.wall_ns()
    results: list[Result] = []
    for time_ns, _, message in events:
        at_ns = min(now_ns, now_ns - (wall_ns - time_ns))
        if isinstance(message, Request):
            results += engine.request(message, max(at_ns, 0))
        else:
            results += engine.score(message, max(at_ns, 0))
    return Rebuilt(input_, scores, results)


def _remember_answers(
    streams: Streams, engine: Engine, since: timedelta, now_ns: int, losses: Losses
) -> None:
    """What has been answered already, by a server before us or by a proxy's backstop."""
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
        else:  # nobody speaks for another model
            engine.count_malformed()
    return found


def _open_requests(
    consumer: Consumer, engine: Engine, host: str, clock: Clock, losses: Losses
) -> list[tuple[int, Request]]:
    """Requests that somebody may still wait for; of the others, nobody is told anything."""
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
