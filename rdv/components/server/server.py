"""Reads requests and scores, asks the engine, writes results.

Scores are polled before the input and applied after it: on one machine, where a model has read
the request before it can score it, a score then never comes before its request.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from datetime import timedelta
from typing import Literal

import msgspec

from rdv.clock import Clock
from rdv.components.places import MODELS_TOPIC, Streams
from rdv.components.reading import poll_on
from rdv.components.stopping import Waiting, Waker
from rdv.errors import RdvError
from rdv.messages import (
    MalformedMessage,
    Result,
    decode_request,
    decode_result,
    decode_score,
    encode_result,
)
from rdv.rendezvous import Engine

log = logging.getLogger("rdv.server")

POLL_RECORDS_MAX = 2_000
BACKSTOP_S = 0.2
"""The longest wait: a ring may be lost when its sender is killed in that very instant."""


class ModelNews(msgspec.Struct):
    """A line of `control:models`."""

    model: str
    state: Literal["up", "down"]


_decode_news = msgspec.json.Decoder(ModelNews).decode


class Server:
    """Serves some partitions of a decision. One thread; `waker` stops it from others."""

    def __init__(
        self,
        streams: Streams,
        engine: Engine,
        partitions: Iterable[int],
        clock: Clock,
        waker: Waker,
        window_ms: int,
    ) -> None:
        self._streams = streams
        self._engine = engine
        self._partitions = sorted(partitions)
        self._clock = clock
        self._waker = waker
        since = timedelta(milliseconds=window_ms)
        self._remember_answers(since)
        # From a little before now: what a killed server had not answered is found again.
        self._scores = streams.scores.consumer(partitions=self._partitions, start=since)
        self._input = streams.input.consumer(partitions=self._partitions, start=since)
        self._producer = streams.results.producer()
        self._control = streams.control.consumer([MODELS_TOPIC])
        self._waiting = Waiting(
            (
                self._scores.fileno(),
                self._input.fileno(),
                self._control.fileno(),
                self._waker.fileno(),
            )
        )
        self._models: set[str] = set()
        self.lost_results = 0

    def _remember_answers(self, since: timedelta) -> None:
        """What has been answered already, by a server before us or by a proxy's backstop."""
        now_ns = self._clock.monotonic_ns()
        with self._streams.results.consumer(start=since) as consumer:
            while records := poll_on(consumer, POLL_RECORDS_MAX):
                for record in records:
                    try:
                        self._engine.already_answered(decode_result(record.value).id, now_ns)
                    except MalformedMessage:
                        self._engine.count_malformed()

    def turn(self) -> bool:
        """Do what there is to do; False when there was nothing."""
        scores = poll_on(self._scores, POLL_RECORDS_MAX)
        requests = poll_on(self._input, POLL_RECORDS_MAX)
        now_ns = self._clock.monotonic_ns()
        results = self._engine.tick(now_ns)
        results += self._hear_of_models(now_ns)
        for record in requests:
            try:
                results += self._engine.request(decode_request(record.value), now_ns)
            except MalformedMessage:
                self._engine.count_malformed()
        for record in scores:
            try:
                score = decode_score(record.value)
            except MalformedMessage:
                self._engine.count_malformed()
                continue
            if score.model not in self._models:
                self._models.add(score.model)
                results += self._engine.model_up(score.model, now_ns)
            results += self._engine.score(score, now_ns)
        if results:
            self._publish(results)
        return bool(requests or scores)

    def _hear_of_models(self, now_ns: int) -> list[Result]:
        """The supervisor tells which models live; a score tells that one does."""
        results: list[Result] = []
        for record in poll_on(self._control, POLL_RECORDS_MAX):
            try:
                news = _decode_news(record.value)
            except msgspec.DecodeError:
                self._engine.count_malformed()
                continue
            if news.state == "up":
                results += self._engine.model_up(news.model, now_ns)
                self._models.add(news.model)
            else:
                results += self._engine.model_down(news.model, now_ns)
                self._models.discard(news.model)
        return results

    def _publish(self, results: list[Result]) -> None:
        """Each result goes to its request's return address, in our own partition of it."""
        by_topic: dict[str, list[bytes]] = {}
        for result in results:
            by_topic.setdefault(result.reply_to, []).append(encode_result(result))
        for topic, lines in by_topic.items():
            try:
                self._producer.send_many(topic, lines, partition=self._partitions[0])
            except RdvError as error:
                # The proxy's backstop answers; the server goes on.
                self.lost_results += len(lines)
                log.error("%d results lost: %s", len(lines), error.text())

    def wait(self) -> None:
        """Block until something may have come, or a step or an SLA has ended."""
        due_ns = self._engine.next_deadline()
        timeout_s = BACKSTOP_S
        if due_ns is not None:
            timeout_s = min(timeout_s, (due_ns - self._clock.monotonic_ns()) / 1e9)
        if timeout_s > 0:
            self._waiting.wait(timeout_s)
        self._waker.drain()

    def close(self) -> None:
        self._scores.close()
        self._input.close()
        self._control.close()
        self._producer.close()
