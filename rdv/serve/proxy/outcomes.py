"""`POST /v1/outcomes` records the true outcomes of requests before it acknowledges them.

    {"id": "5ae4…", "outcome": "fraud"}                                     or a list of them
    {"id": "5ae4…", "outcome": {"label": "ok"}, "time": "2026-11-22T14:00:00Z"}

The answer 202 {"accepted": 1} means that all are in the log, as one batch. The ids are not checked:
the log of another proxy, or one that retention has deleted, may have had them; an outcome of an
unknown id joins nothing. A repeat does not count twice, because of several outcomes of one id the
latest counts: so a proxy that starts again does not look for the Idempotency-Keys of outcomes.

A batch is refused as a whole. (When the log cannot be written a leading part may be in it; sending
it again does no harm.)
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable
from functools import partial

import msgspec

from rdv.clock import SYSTEM_CLOCK, Clock
from rdv.coded import coded
from rdv.errors import RdvError, http_status
from rdv.http import Failure
from rdv.http import Request as HttpRequest
from rdv.moment import InvalidMoment
from rdv.payload import DEPTH_MAX, UnusableJson, check_numbers_and_depth
from rdv.rendezvous.messages import ReportedOutcome, Truth, encode_truth, with_source
from rdv.serve.outbox import Outbox
from rdv.serve.proxy.intake import undecodable_body, unusable_json
from rdv.stream.errors import RecordTooLarge

log = logging.getLogger("rdv.proxy")

OUTCOMES_MAX = 1_000
"""The maximum number of outcomes in one request."""

OUTCOMES_WAIT_MS = 1_000
"""How long outcomes wait for a log that another process has locked, before they are refused."""

_decode = msgspec.json.Decoder(ReportedOutcome | list[ReportedOutcome]).decode


_DRAINING = Failure(
    503,
    "draining",
    "this proxy is stopping: send them to another one, or again in a moment",
    headers=((b"Retry-After", b"1"),),
)


def read_outcomes(raw: bytes, now_ns: int) -> list[Truth] | Failure:
    """Return the outcomes of a body, or what is wrong with it. Pure."""
    try:
        if not raw.isascii():
            raw.decode()
        is_list = raw.lstrip(b" \t\r\n").startswith(b"[")
        check_numbers_and_depth(raw, DEPTH_MAX + 1 + is_list)
        decoded = _decode(raw)
    except (msgspec.ValidationError, msgspec.DecodeError, UnicodeDecodeError) as error:
        return undecodable_body(raw, error)
    except UnusableJson as error:
        return unusable_json(error)
    items = decoded if isinstance(decoded, list) else [decoded]
    if len(items) > OUTCOMES_MAX:
        message = f"{len(items)} outcomes are more than {OUTCOMES_MAX}: send them in parts"
        return Failure(413, "too_many_outcomes", message, {"limit": OUTCOMES_MAX})
    truths = []
    for number, item in enumerate(items):
        try:
            truths.append(item.truth(now_ns))
        except InvalidMoment as error:
            message = f"the time of outcome {number}: {error.text()}. {error.hint()}"
            return Failure(422, "invalid_time", message, {"number": number})
    return truths


class OutcomeHandler:
    """Writes outcomes to the proxy's own topic. For the loop's thread."""

    def __init__(
        self,
        outbox: Outbox,
        topic: str,
        is_draining: Callable[[], bool],
        call_soon: Callable[..., object],
        record_bytes_max: int,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        """`call_soon` has the loop call a function, from any thread."""
        self._outbox = outbox
        self._call_soon = call_soon
        self._record_bytes_max = record_bytes_max
        self._clock = clock
        self._topic = topic
        self._is_draining = is_draining

    def accept(self, http: HttpRequest) -> None:
        """Handle `POST /v1/outcomes`."""
        if http.json_fault is not None:
            http.fail(http.json_fault)
            return
        if self._is_draining():
            http.fail(_DRAINING)
            return
        truths = read_outcomes(http.body, self._clock.wall_ns())
        if isinstance(truths, Failure):
            http.fail(truths)
            return
        truths = list(with_source(http.client, truths))
        lines = [encode_truth(truth) for truth in truths]
        if (failure := _too_large(lines, self._record_bytes_max)) is not None:
            http.fail(failure)
            return
        failed: dict[int, RdvError] | None = {}
        if lines:
            done = partial(self._waited, http, len(lines))
            failed = self._outbox.send(self._topic, lines, 0, done)
        if failed is not None:
            self._settle(http, len(lines), failed)

    def _waited(self, http: HttpRequest, count: int, failed: dict[int, RdvError]) -> None:
        """Pass on, from a thread, the result for outcomes that had to wait."""
        with contextlib.suppress(RuntimeError):  # the loop has ended meanwhile
            self._call_soon(self._settle, http, count, failed)

    def _settle(self, http: HttpRequest, count: int, failed: dict[int, RdvError]) -> None:
        if failed:
            http.fail(_not_logged(failed))
        else:
            http.respond(202, b'{"accepted":%d}\n' % count)

    def close(self) -> None:
        self._outbox.close()


def _too_large(lines: list[bytes], limit_bytes: int) -> Failure | None:
    """Return a refusal that names an outcome that is too large; then none of them is recorded."""
    for number, line in enumerate(lines):
        if len(line) > limit_bytes:
            error = RecordTooLarge(len(line), limit_bytes)
            message = f"no outcome was recorded: of outcome {number}, {error.text()}"
            fields = {"number": number, "limit": limit_bytes}
            return Failure(413, "outcome_too_large", message, fields)
    return None


def _not_logged(failed: dict[int, RdvError]) -> Failure:
    error = next(iter(failed.values()))
    text = "%d outcomes cannot be logged: %s"
    log.warning(text, len(failed), error.text(), extra=coded(error))
    message = f"the outcomes were not recorded: {error.text()}"
    return Failure(http_status(error), "not_logged", message, headers=((b"Retry-After", b"1"),))
