"""Reads requests and scores, calls the engine, writes results.

Scores are polled before the input and applied after it: on one machine, where a model has read the
request before it can score it, a score then never comes before its request.

The server registers only for the wake-ups that it needs. While nothing is open, requests wake it:
late scores of decided requests can wait. While something is open, scores and the clock do: each
request is followed by scores in any case, and the clock covers those that are not. So a decision
wakes the server twice, however many models there are, and less under load.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Iterable
from functools import partial
from itertools import chain

import msgspec

from rdv.clock import Clock
from rdv.coded import coded
from rdv.codes import ResultCode
from rdv.decision.streams import Streams
from rdv.errors import RdvError
from rdv.rendezvous.deadlines import is_given_up
from rdv.rendezvous.engine import Engine
from rdv.rendezvous.messages import Result
from rdv.rendezvous.reasons import Reason
from rdv.rendezvous.topology import MODELS_TOPIC
from rdv.serve.batches import REQUESTS, RESULTS, SCORES
from rdv.serve.feeds import BACKSTOP_S, SERVER_PRIORITY, Feed, Feeds, Losses, read_all
from rdv.serve.outbox import Failed, Outbox
from rdv.serve.process import Waker
from rdv.serve.server.rebuild import rebuild
from rdv.status.lines import decode_model_state
from rdv.stream import Block
from rdv.stream.errors import RecordTooLarge

log = logging.getLogger("rdv.server")

_TOO_LARGE: ResultCode = "record_too_large"

POLL_RECORDS_MAX = 128
"""The maximum of requests, and of scores, in one turn. A turn takes a few milliseconds then, and
what is due meanwhile waits no longer than that.
"""
READ_RECORDS_MAX = 2_000
"""How many records are read at once at the start, when nothing is due."""
LOOK_S = 0.01
"""How often new requests are polled while something is open, even if no model reports."""

KEEP_MS = 10_000
"""How long results whose partition another process has locked are kept, in ms: no proxy waits for
them after that, but they belong to the log.
"""

LAG_NS = 20_000_000
"""A request that comes in later than this may have expired, because a process was stopped."""


class Server:
    """Serves some partitions of a decision. One thread; `waker` stops it from others."""

    def __init__(
        self,
        streams: Streams,
        engine: Engine,
        partitions: Iterable[int],
        *,
        host: str,
        clock: Clock,
        waker: Waker,
        window_ms: int,
    ) -> None:
        self._engine = engine
        self._host = host
        self._clock = clock
        self._partitions = sorted(partitions)
        self.given_up = 0
        self.lost_results = 0
        """Results that could not be written."""
        self._unwritten: deque[tuple[list[Result], Failed]] = deque()
        """Results that could not be written and why, for the server's thread to handle."""
        self._waker = waker
        self.losses = losses = Losses()
        self._look_ns = 0
        self._models: set[str] = set()
        """The models with a state or a score so far."""
        self._outbox = Outbox(
            streams.results.producer(),
            clock,
            "results",
            keep_ms=KEEP_MS,
            is_slow=streams.results.config.fsync == "always",
        )
        control = streams.control.consumer([MODELS_TOPIC])
        # Before anything is open: a past downtime must not affect open requests.
        past = [record.value for record in read_all(control, READ_RECORDS_MAX, losses)]
        self._apply_model_states(past, clock.monotonic_ns(), [])
        rebuilt = rebuild(streams, engine, self._partitions, host, clock, window_ms, losses)
        self._scores = Feed(rebuilt.scores, losses)
        self._input = Feed(rebuilt.input, losses)
        self._control = Feed(control, losses)
        self._input.consumer.wakeup_priority = SERVER_PRIORITY
        self._feeds = Feeds((self._scores, self._input, self._control), waker, clock)
        self._publish(rebuilt.results)

    def turn(self) -> bool:
        """Do one turn; return False if nothing is left and it is registered for wake-ups."""
        engine = self._engine
        is_open = engine.open_count > 0
        scores, input_ = self._scores, self._input
        reports = scores.poll(POLL_RECORDS_MAX) if is_open else scores.look(POLL_RECORDS_MAX)
        requests = input_.look(POLL_RECORDS_MAX) if is_open else input_.poll(POLL_RECORDS_MAX)
        states = self._control.poll(POLL_RECORDS_MAX) if self._control.is_ready else []
        now_ns = self._clock.monotonic_ns()
        if results := engine.tick(now_ns):  # overdue: they do not wait for what is new
            self._publish(results)
        results = []
        if states:
            values = chain.from_iterable(block.values() for block in states)
            self._apply_model_states(values, now_ns, results)
        if requests:
            self._take_requests(requests, now_ns, results)
        if reports:
            self._take_scores(reports, now_ns, results)
        if results:
            self._publish(results)
        if self._unwritten:
            self._settle_unwritten()
        # `is_ready` is also true after damage that was skipped: what follows is to be read now.
        is_behind = scores.is_ready or input_.is_ready or self._control.is_ready
        return is_behind or (engine.open_count > 0) != is_open

    def _take_requests(self, blocks: list[Block], now_ns: int, results: list[Result]) -> None:
        engine = self._engine
        for request in chain.from_iterable(map(REQUESTS.read, blocks)):
            if request is None:
                engine.count_malformed()
                continue
            late_ns = now_ns - request.monotonic_ns
            if late_ns > LAG_NS and is_given_up(request, self._host, now_ns):
                self.given_up += 1
                engine.already_answered(request.id, now_ns)
            else:
                results += engine.request(request, now_ns)

    def _take_scores(self, blocks: list[Block], now_ns: int, results: list[Result]) -> None:
        engine, models = self._engine, self._models
        for block in blocks:
            topic = block.topic
            for score in SCORES.read(block):
                if score is None or score.model != topic:  # a report for another model
                    engine.count_malformed()
                    continue
                if topic not in models:
                    models.add(topic)
                    results += engine.model_up(topic, now_ns)
                results += engine.score(score, now_ns)

    def _apply_model_states(
        self, values: Iterable[bytes], now_ns: int, results: list[Result]
    ) -> None:
        """Apply the supervisor's records of which models are up.

        A model without a record counts as up by its score; one that is recorded as down does not,
        because the score may have been written before. Of several records of a model only the last
        one counts.
        """
        engine = self._engine
        last: dict[str, str] = {}
        for value in values:
            try:
                line = decode_model_state(value)
            except msgspec.DecodeError:
                engine.count_malformed()
            else:
                last[line.model] = line.state
        self._models.update(last)
        for model, state in last.items():
            if state == "up":
                results += engine.model_up(model, now_ns)
            else:
                results += engine.model_down(model, now_ns)

    def _publish(self, results: list[Result]) -> None:
        """Write each result to its request's return address, in this server's partition."""
        by_topic: dict[str, list[Result]] = {}
        for result in results:
            by_topic.setdefault(result.reply_to, []).append(result)
        for topic, group in by_topic.items():
            lines = RESULTS.write(group)
            done = partial(self._waited, group)
            if failed := self._outbox.send(topic, lines, self._partitions[0], done):
                self._unwritten.append((group, failed))
                self._settle_unwritten()

    def _waited(self, group: list[Result], failed: Failed) -> None:
        """Note, from a thread, which waiting results could not be logged."""
        if failed:
            self._unwritten.append((group, failed))
            self._waker.wake()

    def _settle_unwritten(self) -> None:
        """Replace results that are larger than a record may be by the marked default.

        Other results are lost: the proxy's own default answers their requests, and the server goes
        on.
        """
        while self._unwritten:
            group, failed = self._unwritten.popleft()
            instead = [self._in_place_of(group[at], error) for at, error in failed.items()]
            known = [result for result in instead if result is not None]
            if lost := len(failed) - len(known):
                self.lost_results += lost
                why = next(iter(failed.values())).text()
                log.warning("%d results lost: %s", lost, why, extra=coded("results_lost"))
            if known:
                self._publish(known)

    def _in_place_of(self, result: Result, error: RdvError) -> Result | None:
        if not isinstance(error, RecordTooLarge) or result.code == _TOO_LARGE:
            return None
        why = Reason(_TOO_LARGE, f"the answer is not logged: {error.text()}")
        return self._engine.in_place_of(result, why)

    @property
    def feeds(self) -> tuple[Feed, ...]:
        """Return the feeds that it reads, for the loop of a caller."""
        return self._scores, self._input, self._control

    def due_s(self) -> float:
        """Return the seconds until a step or an SLA ends, or until the next regular poll."""
        due_ns = self._engine.next_deadline()
        if due_ns is None:
            return BACKSTOP_S
        return min(LOOK_S, max(0.0, (due_ns - self._clock.monotonic_ns()) / 1e9))

    def wait(self) -> None:
        """Block until something may have come, or a step or an SLA has ended."""
        now_ns = self._clock.monotonic_ns()
        if now_ns >= self._look_ns:
            self._look_ns = now_ns + int(BACKSTOP_S * 1e9)
            self._control.is_ready = True
        self._feeds.block(self.due_s())

    def close(self) -> None:
        for feed in (self._scores, self._input, self._control):
            feed.close()
        self._outbox.close()
