"""A model that is asked over HTTP, with several batches in flight. For one thread; never blocks it.

`submit` sends a batch, `collect` returns those that have an answer; between them the owner waits
until `fileno()` is readable or the time of `next_ns()` has come. `predict` does all of it for one
batch, and blocks.
"""

from __future__ import annotations

import logging
import math
import os
import selectors
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from rdv.coded import NO_FAULT, Coded, coded
from rdv.models.model import Again, ModelError, ModelNotLoaded, Outcome, Takes, one_line, shortened
from rdv.models.remote.breaker import Breaker, Ticket
from rdv.models.remote.call import Attempt, Batch
from rdv.models.remote.connection import ConnectionFailed, Response
from rdv.models.remote.hedging import Hedging
from rdv.models.remote.protocols import BadAnswer, BadRows, make_codec
from rdv.models.remote.replica import Replica, message
from rdv.models.remote.settings import InvalidRemote, headers_of, places_of, settings_of
from rdv.models.remote.verdict import Verdict, verdict_of

log = logging.getLogger("rdv.models")

REFUSALS_MAX = 32
"""How often a server may refuse rows of one batch before all that are left are given up."""
START_LOOK_MS = 3_000
"""How long a start waits for the server's metadata at most; after that it goes on without."""
RETRY_NS = 1_000_000_000
"""How often metadata is asked for that was not there."""
METADATA_MS = 5_000
"""The time limit for an answer of the metadata."""
VERSION_CHARACTERS_MAX = 200
VERSIONS_MAX = 64
"""The most versions that are remembered, so that each change is logged once."""

_NEVER_NS = 2**63


class Done(NamedTuple):
    """A batch that has ended."""

    key: Any
    outcomes: list[Outcome]
    version: str
    took_ms: float
    is_measured: bool
    """Whether the time says how quick the model is: it has answered."""


class RemoteModel:
    """Asks one server, or several replicas of it; see `rdv.models.remote`."""

    takes: Takes = "data"

    def __init__(
        self,
        name: str,
        values: Mapping[str, Any],
        *,
        version: str = "",
        predict_timeout_ms: int = 10_000,
        result_bytes_max: int = 1024 * 1024,
        environ: Mapping[str, str] | None = None,
        clock_ns: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        """Look at the server, for START_LOOK_MS at most: one that is not there may come later.

        Raises ModelNotLoaded for settings that cannot be used.
        """
        self._name, self._declared, self._clock_ns = name, version, clock_ns
        self._timeout_ns = predict_timeout_ms * 1_000_000
        try:
            self._settings = settings = settings_of(values)
            headers = headers_of(settings, os.environ if environ is None else environ)
            self._replicas = [
                Replica(place, settings.ca_file, settings.answer_bytes_max, Breaker())
                for place in places_of(settings.http)
            ]
        except InvalidRemote as error:
            raise ModelNotLoaded(name, "http", str(error)) from None
        except OSError as error:
            reason = f"ca_file {settings.ca_file!r} cannot be used: {error.strerror or error}"
            raise ModelNotLoaded(name, "http", reason) from None
        self._headers = headers
        self._codec = make_codec(name, settings, result_bytes_max)
        self.kind = f"HTTP ({settings.protocol})"
        self.version = version
        self.columns: list[str] = []
        self._selector = selectors.DefaultSelector()
        self._hedging = Hedging(settings.hedge_share)
        self._batches: list[Batch] = []
        self._done: list[Done] = []
        self._turn = 0
        self._metadata: Attempt | None = None
        self._has_metadata = not self._codec.needs_metadata
        self._metadata_ns = self._clock_ns()
        self._metadata_why = "its metadata has not been read yet"
        self._versions: dict[str, None] = {}
        for replica in self._replicas:
            replica.look_up(self._clock_ns(), START_LOOK_MS / 1000)
        if self._codec.metadata_path:
            self._look_at_start()

    # The interface of a model whose batches overlap.

    def fileno(self) -> int:
        """Return a descriptor that is readable when `collect` has something to do."""
        return self._selector.fileno()

    @property
    def has_room(self) -> bool:
        """Return whether another batch may be submitted; batches that are late do not count."""
        return sum(not one.is_late for one in self._batches) < self._settings.in_flight_max

    def unavailable(self) -> Coded:
        """Return why no batch may be submitted now; NO_FAULT when one may."""
        now_ns = self._clock_ns()
        if not self._has_metadata:
            return self._fault(f"{self._metadata_why}; asked again within a second")
        if any(one.breaker.allows(now_ns) for one in self._replicas):
            return NO_FAULT
        at_ns = min(one.breaker.allows_at_ns() for one in self._replicas)
        if at_ns <= now_ns:
            return self._fault("one request tries whether it answers again")
        return self._fault(f"asked again in {math.ceil((at_ns - now_ns) / 1e6)} ms")

    def _fault(self, then: str) -> Coded:
        broken = next((one for one in self._replicas if one.breaker.reason), None)
        if broken is None:
            return Coded("unavailable", shortened(f"{self._replicas[0].place}: {then}"))
        return Coded("unavailable", shortened(f"{broken.place}: {broken.breaker.reason}; {then}"))

    @property
    def trouble(self) -> Coded:
        """Return why it cannot answer now. See `trouble_of`."""
        now_ns = self._clock_ns()
        if (why := self.unavailable()).code:
            return why
        if all(one.breaker.state(now_ns) != "closed" for one in self._replicas):
            return self._fault("the next request tries whether it answers again")
        return NO_FAULT

    def next_ns(self) -> int:
        """Return when `collect` has to be called at the latest."""
        soonest_ns = self._metadata_due_ns()
        for batch in self._batches:
            soonest_ns = min(soonest_ns, batch.next_ns())
        if soonest_ns > self._clock_ns():
            opens = [at for one in self._replicas if (at := one.breaker.allows_at_ns())]
            soonest_ns = min([soonest_ns, *(at for at in opens if at > self._clock_ns())])
        return soonest_ns

    def submit(
        self,
        key: object,
        rows: Sequence[bytes],
        wanted_ns: int,
        due_ns: int,
        headers: Sequence[tuple[str, str]] = (),
    ) -> None:
        """Send a batch; `collect` returns it with its `key`.

        An answer is wanted by `wanted_ns` and of use until `due_ns`. `headers` are sent besides
        those of the settings, which come first.
        """
        now_ns = self._clock_ns()
        due_ns = min(due_ns, now_ns + self._timeout_ns)
        batch = Batch(key, rows, now_ns, min(wanted_ns, due_ns), due_ns, self._besides(headers))
        self._batches.append(batch)
        self._hedging.called()
        self._next_part(batch, now_ns)

    def _besides(self, headers: Sequence[tuple[str, str]]) -> Sequence[tuple[str, str]]:
        """Return all headers; one of the settings is not sent a second time."""
        if not headers:
            return self._headers
        names = {name.lower() for name, _ in self._headers}
        return [*self._headers, *(line for line in headers if line[0].lower() not in names)]

    def collect(self) -> list[Done]:
        """Go on with all batches; return those that have ended. Never blocks."""
        for key, _ in self._selector.select(0):
            attempt: Attempt = key.data
            if attempt.is_over:
                continue
            self._step(attempt)
        self._check_times(self._clock_ns())
        done, self._done = self._done, []
        return done

    # The interface of every model.

    def predict(self, rows: list[Any], again: Again | None = None) -> list[Outcome]:
        """Evaluate the rows, and wait for the answer. See Model; a row is the JSON of its data."""
        del again
        if not rows:
            return []
        due_ns = self._clock_ns() + self._timeout_ns
        while (why := self.unavailable()).code and not self._has_metadata:
            if not self._wait(due_ns):
                break
        if why.code:
            return [ModelError(why.text, "exit")] * len(rows)
        self.submit(None, rows, due_ns, due_ns)
        while not (done := self.collect()):
            self._wait(min(due_ns, self.next_ns()))
        return done[0].outcomes

    def _wait(self, until_ns: int) -> bool:
        """Wait for an event; return False when the time is over. For `predict` alone."""
        left_s = (min(until_ns, self.next_ns()) - self._clock_ns()) / 1e9
        for key, _ in self._selector.select(max(0.0, left_s)):
            if not key.data.is_over:
                self._step(key.data)
        self._check_times(self._clock_ns())
        return self._clock_ns() < until_ns

    def close(self) -> None:
        """Close all connections. What is in flight is lost. May be called twice."""
        for batch in self._batches:
            for attempt in list(batch.attempts):
                self._drop(attempt)
        self._batches.clear()
        if self._metadata is not None:
            self._drop(self._metadata)
            self._metadata = None
        for replica in self._replicas:
            replica.close()
        self._selector.close()

    # Batches and their attempts.

    def _next_part(self, batch: Batch, now_ns: int) -> None:
        """Ask for the next rows of a batch, or end it."""
        while batch.parts:
            first, last = batch.parts[-1]
            try:
                batch.body = self._codec.body(batch.rows[first:last])
            except BadRows as error:
                self._rows_failed(batch, ModelError(shortened(str(error)), "data"))
                continue
            if self._attempt(batch, now_ns):
                return
        self._end(batch, now_ns)

    def _attempt(self, batch: Batch, now_ns: int, *, is_hedge: bool = False) -> bool:
        """Send the present part to a replica that has not got it; return False if there is none."""
        asked = {id(one.replica) for one in batch.attempts} | batch.tried
        for replica in self._in_turn():
            if id(replica) in asked or not replica.breaker.allows(now_ns):
                continue
            ticket = replica.breaker.begin(now_ns)
            try:
                connection = replica.connection(now_ns)
            except ConnectionFailed as error:
                self._note_ticket(replica, ticket, now_ns, Verdict("server", str(error)))
                batch.why = ModelError(shortened(f"{replica.place}: {error}"), "exit")
                continue
            attempt = Attempt(replica, connection, ticket, now_ns, batch, is_hedge=is_hedge)
            batch.attempts.append(attempt)
            if not is_hedge:
                batch.asked_ns = now_ns
                batch.hedge_ns = self._hedge_ns(now_ns)
            self._send(
                attempt, message(replica.place, "POST", self._codec.path, batch.headers, batch.body)
            )
            return True
        if not batch.attempts and not is_hedge:
            self._part_failed(batch, batch.why or ModelError(self.unavailable().text, "exit"))
        return False

    def _in_turn(self) -> list[Replica]:
        """Return the replicas, beginning with another one each time."""
        self._turn = (self._turn + 1) % len(self._replicas)
        return [*self._replicas[self._turn :], *self._replicas[: self._turn]]

    def _hedge_ns(self, now_ns: int) -> int:
        after_ms = self._hedging.after_ms
        if not self._settings.hedge or len(self._replicas) == 1 or math.isinf(after_ms):
            return _NEVER_NS
        return now_ns + int(after_ms * 1e6)

    def _send(self, attempt: Attempt, text: bytes) -> None:
        attempt.message = text
        try:
            attempt.connection.send(text)
        except ConnectionFailed as error:
            attempt.register(self._selector)
            self._failed(attempt, error)
            return
        attempt.register(self._selector)

    def _step(self, attempt: Attempt) -> None:
        """Go on with an attempt after an event on its connection."""
        try:
            response = attempt.connection.step()
        except ConnectionFailed as error:
            self._failed(attempt, error)
            return
        if response is None:
            attempt.register(self._selector)
            return
        attempt.unregister(self._selector)
        attempt.is_over = True
        attempt.replica.keep(attempt.connection)
        if attempt.batch is None:
            self._metadata = None
            self._learn(attempt, response)
        else:
            self._answered(attempt.batch, attempt, response)

    def _failed(self, attempt: Attempt, error: ConnectionFailed) -> None:
        """Handle a connection that has failed; one that was stale is tried once on a new one."""
        now_ns = self._clock_ns()
        attempt.unregister(self._selector)
        attempt.connection.close()
        if error.is_stale and (self._settings.hedge or attempt.batch is None):
            try:
                attempt.connection = attempt.replica.new_connection(now_ns)
            except ConnectionFailed as worse:
                error = worse
            else:
                self._send(attempt, attempt.message)
                return
        attempt.is_over = True
        attempt.replica.connecting_failed(attempt.connection)
        verdict = Verdict("server", str(error), cause="exit")
        if attempt.batch is None:
            self._metadata = None
            self._metadata_failed(attempt, verdict)
            return
        self._note(attempt, self._clock_ns(), verdict)
        self._without(attempt.batch, attempt, verdict)

    def _answered(self, batch: Batch, attempt: Attempt, response: Response) -> None:
        now_ns = self._clock_ns()
        first, last = batch.parts[-1]
        verdict = verdict_of(response)
        if verdict.kind == "answer":
            try:
                found = self._codec.read(response.body, last - first)
            except BadAnswer as error:
                verdict = Verdict("server", str(error), cause="garbage")
            else:
                self._note(attempt, now_ns)
                self._hedging.learn((now_ns - batch.asked_ns) / 1e6)
                batch.outcomes[first:last] = found.outcomes
                batch.version = found.version or response.header(b"x-model-version")[:200]
                batch.has_answer = True
                self._part_ended(batch, now_ns, attempt)
                return
        if verdict.kind == "rows":
            self._drop_others(batch, attempt)
            batch.attempts.clear()
            batch.refusals += 1
            batch.refused = attempt, verdict
            if attempt.ticket is not None:
                attempt.replica.breaker.cancelled(attempt.ticket)
            self._rows_failed(batch, ModelError(shortened(verdict.text), verdict.cause))
            self._next_part(batch, now_ns)
            return
        self._note(attempt, self._clock_ns(), verdict)
        self._without(batch, attempt, verdict)

    def _without(self, batch: Batch, attempt: Attempt, verdict: Verdict) -> None:
        """Go on without an attempt that has failed: with another one that runs, or a replica."""
        now_ns = self._clock_ns()
        batch.attempts.remove(attempt)
        batch.tried.add(id(attempt.replica))
        batch.why = ModelError(shortened(f"{attempt.replica.place}: {verdict.text}"), verdict.cause)
        if batch.attempts:
            return
        may_repeat = self._settings.hedge or verdict.is_unsent
        if may_repeat and batch.due_ns - now_ns > self._typical_ns():
            if self._attempt(batch, now_ns):
                return
        else:
            self._part_failed(batch, batch.why)
        self._next_part(batch, now_ns)

    def _typical_ns(self) -> int:
        typical_ms = self._hedging.typical_ms
        return 0 if math.isinf(typical_ms) else int(typical_ms * 1e6)

    def _part_ended(self, batch: Batch, now_ns: int, attempt: Attempt) -> None:
        self._drop_others(batch, attempt)
        batch.attempts.clear()
        batch.tried.clear()
        batch.parts.pop()
        self._next_part(batch, now_ns)

    def _part_failed(self, batch: Batch, error: ModelError) -> None:
        """Give up all rows that are left: the server has failed, not a row."""
        for first, last in batch.parts:
            batch.outcomes[first:last] = [error] * (last - first)
        batch.parts.clear()

    def _rows_failed(self, batch: Batch, error: ModelError) -> None:
        """Split the present rows, as one of them may be at fault; or give up the last one."""
        first, last = batch.parts.pop()
        now_ns = self._clock_ns()
        is_safe = self._settings.hedge or error.cause == "data"
        has_time = batch.due_ns - now_ns > self._typical_ns()
        if last - first > 1 and is_safe and has_time and batch.refusals < REFUSALS_MAX:
            middle = (first + last) // 2
            batch.parts += [(middle, last), (first, middle)]
        else:
            batch.outcomes[first:last] = [error] * (last - first)

    def _drop_others(self, batch: Batch, winner: Attempt) -> None:
        for attempt in batch.attempts:
            if attempt is not winner:
                self._drop(attempt)

    def _drop(self, attempt: Attempt) -> None:
        """Cancel an attempt: its connection is closed."""
        attempt.unregister(self._selector)
        attempt.is_over = True
        attempt.connection.close()
        if attempt.ticket is not None:
            attempt.replica.breaker.cancelled(attempt.ticket)

    def _end(self, batch: Batch, now_ns: int) -> None:
        """Hand over a batch all of whose rows have an outcome."""
        if batch.refused is not None and not batch.has_answer:
            # Refused data says that the server works; 500 for all rows that it does not.
            attempt, verdict = batch.refused
            self._note(attempt, now_ns, None if verdict.cause == "data" else verdict)
        self._batches.remove(batch)
        if batch.version:
            self._set_version(batch.version)
        took_ms = (now_ns - batch.began_ns) / 1e6
        version = self._joined(batch.version) if batch.version else self.version
        self._done.append(Done(batch.key, batch.outcomes, version, took_ms, batch.has_answer))

    def _note(self, attempt: Attempt, now_ns: int, verdict: Verdict | None = None) -> None:
        """Tell the breaker once how an attempt has ended; without a verdict it has answered."""
        ticket, attempt.ticket = attempt.ticket, None
        if ticket is not None:
            self._note_ticket(attempt.replica, ticket, now_ns, verdict)

    def _note_ticket(
        self, replica: Replica, ticket: Ticket, now_ns: int, verdict: Verdict | None
    ) -> None:
        why, pause_ms = ("", 0) if verdict is None else (verdict.text, verdict.retry_after_ms)
        was_closed = replica.breaker.state(now_ns) == "closed"
        if replica.breaker.ended(ticket, now_ns, why, pause_ms) and was_closed:
            log.warning(
                "%s: %s is not asked for a while: %s",
                self._name,
                replica.place,
                shortened(why),
                extra=coded("model_unavailable"),
            )

    def _check_times(self, now_ns: int) -> None:
        for batch in list(self._batches):
            if now_ns >= batch.due_ns:
                self._timed_out(batch, now_ns)
                continue
            if now_ns >= batch.wanted_ns and not batch.is_late:
                batch.is_late = True
                self._note_slow(batch, now_ns)
            if now_ns >= batch.hedge_ns and batch.attempts:
                batch.hedge_ns = _NEVER_NS
                if not batch.is_late and self._hedging.take():
                    self._attempt(batch, now_ns, is_hedge=True)
        late = [batch for batch in self._batches if batch.is_late]
        for batch in late[: max(0, len(late) - self._settings.in_flight_max)]:
            self._timed_out(batch, now_ns)
        if now_ns >= self._metadata_due_ns():
            self._check_metadata(now_ns)

    def _note_slow(self, batch: Batch, now_ns: int) -> None:
        """Count a call that has missed its turn as failed, unless it had less time than usual."""
        for attempt in batch.attempts:
            took_ns = now_ns - attempt.began_ns
            if took_ns < self._typical_ns():
                continue
            text = f"no answer within {took_ns / 1e6:.0f} ms"
            self._note(attempt, now_ns, Verdict("server", text, "timeout"))

    def _timed_out(self, batch: Batch, now_ns: int) -> None:
        if not batch.is_late:
            self._note_slow(batch, now_ns)
        for attempt in batch.attempts:
            self._drop(attempt)
        batch.attempts.clear()
        took_ms = (now_ns - batch.began_ns) / 1e6
        self._part_failed(batch, ModelError(f"no answer within {took_ms:.0f} ms", "timeout"))
        self._end(batch, now_ns)

    # The metadata and the version.

    def _look_at_start(self) -> None:
        until_ns = self._clock_ns() + START_LOOK_MS * 1_000_000
        self._check_metadata(self._clock_ns())
        while self._metadata is not None and self._wait(until_ns):
            pass

    def _metadata_due_ns(self) -> int:
        if not self._codec.metadata_path:
            return _NEVER_NS
        if self._metadata is not None:
            return self._metadata.began_ns + METADATA_MS * 1_000_000
        return self._metadata_ns

    def _check_metadata(self, now_ns: int) -> None:
        """Ask for the metadata, or give up an answer that does not come."""
        if self._metadata is not None:
            attempt, self._metadata = self._metadata, None
            self._drop(attempt)
            self._metadata_failed(attempt, Verdict("server", "no answer to GET metadata"))
            return
        replica = self._in_turn()[0]
        try:
            connection = replica.connection(now_ns)
        except ConnectionFailed as error:
            self._metadata_failed(None, Verdict("server", str(error)))
            return
        self._metadata = Attempt(replica, connection, None, now_ns, None)
        text = message(replica.place, "GET", self._codec.metadata_path, self._headers)
        self._send(self._metadata, text)

    def _learn(self, attempt: Attempt, response: Response) -> None:
        verdict = verdict_of(response)
        if response.status in (404, 405, 501) and self._settings.protocol == "oip":
            # Metadata is optional; whether the model exists is seen when it is asked.
            self._has_metadata = True
            self._metadata_ns = self._clock_ns() + self._settings.version_every_ms * 1_000_000
            return
        if verdict.kind != "answer":
            self._metadata_failed(attempt, verdict)
            return
        try:
            version = self._codec.learn(response.body)
        except BadAnswer as error:
            self._metadata_failed(attempt, Verdict("server", str(error)))
            return
        self._has_metadata = True
        self.columns = getattr(self._codec, "columns", [])
        self._metadata_ns = self._clock_ns() + self._settings.version_every_ms * 1_000_000
        if version:
            self._set_version(version)

    def _metadata_failed(self, attempt: Attempt | None, verdict: Verdict) -> None:
        self._metadata_why = shortened(f"its metadata cannot be read: {verdict.text}")
        self._metadata_ns = self._clock_ns() + RETRY_NS
        if attempt is not None:
            attempt.replica.connecting_failed(attempt.connection)

    def _joined(self, version: str) -> str:
        version = one_line(version[:VERSION_CHARACTERS_MAX])
        return f"{self._declared}@{version}" if self._declared else version

    def _set_version(self, version: str) -> None:
        """Note the version that has answered; log each change to one that is new."""
        found, before = self._joined(version), self.version
        self.version = found
        if found in self._versions:
            return
        if self._versions:
            log.warning(
                "%s: version %s → %s",
                self._name,
                before,
                found,
                extra=coded("model_version_changed"),
            )
        if len(self._versions) >= VERSIONS_MAX:
            self._versions.pop(next(iter(self._versions)))
        self._versions[found] = None
