"""Restores the Idempotency-Keys of a restarted proxy from its topic: answered and open ones.

The request is recorded with its key. Its answer is the one that the proxy gave itself, else the
server's result; a request without either is still open, or gets the marked default at once.
`waited_ms` of a restored answer is the recorded one.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from datetime import timedelta

import msgspec

from rdv.clock import Clock
from rdv.coded import coded
from rdv.decision.streams import Streams
from rdv.rendezvous.messages import MalformedMessage, Request, Result, decode_request, decode_result
from rdv.rendezvous.topology import backstop_topic
from rdv.serve.feeds import Losses, read_all
from rdv.serve.proxy.answers import answer_body
from rdv.serve.proxy.idempotency import IdempotencyKeys, KeyedRequest, ScopedKey
from rdv.serve.proxy.proxy import Proxy
from rdv.stream import Record, Stream

log = logging.getLogger("rdv.proxy")

READ_BACK_MAX = 500_000
"""The maximum number of newest records per partition that are read: about a second."""

READ_RECORDS = 5_000
DECIDE = "/v1/decide"
_MARK = b'"idempotency":'


class _Found(msgspec.Struct):
    request: Request
    partition: int
    wall_ns: int


class _Named(msgspec.Struct):
    id: str


_read_id = msgspec.json.Decoder(_Named).decode


def restore(proxy: Proxy, streams: Streams, repeats: IdempotencyKeys, clock: Clock) -> None:
    """Fill `repeats`, and open unanswered requests again. To be called before the proxy listens.

    Raises SystemFaults.
    """
    limits, name = repeats.limits, proxy.settings.name
    if not limits.keep_ms:
        return
    since = timedelta(milliseconds=limits.keep_ms)
    found: dict[str, _Found] = {}
    for record in _newest(streams.input, [name], since, proxy.losses):
        if _MARK not in record.value:
            continue
        try:
            request = decode_request(record.value)
        except MalformedMessage:
            continue
        if request.idempotency is not None:
            found[request.id] = _Found(request, record.partition, record.timestamp_ns)
    if not found:
        return
    results = _results(streams, name, since, found, proxy.losses)
    now_ns, wall_ns = clock.monotonic_ns(), clock.wall_ns()
    newest = sorted(found.values(), key=lambda one: one.wall_ns)[-limits.keys_max :]
    for one in newest:
        age_ns = min(max(0, wall_ns - one.wall_ns), limits.keep_ms * 1_000_000)
        _restore_one(proxy, repeats, one, results.get(one.request.id), now_ns - age_ns)
    log.info("%d Idempotency-Keys from before the start are remembered", len(repeats))


def _restore_one(
    proxy: Proxy, repeats: IdempotencyKeys, found: _Found, result: Result | None, since_ns: int
) -> None:
    request = found.request
    mark = request.idempotency
    assert mark is not None
    repeat = repeats.restore(ScopedKey(mark.client, DECIDE, mark.key), mark.body, since_ns)
    if result is not None:
        repeats.answered(repeat, 200, answer_body(result, result.waited_ms, trace=request.trace))
        return
    client = KeyedRequest(None)
    client.answers_for(repeats, repeat)
    proxy.reopen(client, request, found.partition, since_ns)


def _results(
    streams: Streams, name: str, since: timedelta, wanted: dict[str, _Found], losses: Losses
) -> dict[str, Result]:
    """Return the answers. The proxy's own answer is what the client received, so it wins."""
    found: dict[str, Result] = {}
    for topic in (name, backstop_topic(name)):
        for record in _newest(streams.results, [topic], since, losses):
            try:
                if _read_id(record.value).id in wanted:
                    result = decode_result(record.value)
                    found[result.id] = result
            except (MalformedMessage, msgspec.DecodeError, RecursionError):
                continue
    return found


def _newest(
    stream: Stream, topics: list[str], since: timedelta, losses: Losses
) -> Iterator[Record]:
    with stream.consumer(topics, start=since) as consumer:
        positions = consumer.positions()
        for place, behind in consumer.lag().items():
            if behind > READ_BACK_MAX and place in positions:
                text = "%s: only the newest %d records are read"
                log.warning(text, place, READ_BACK_MAX, extra=coded("not_restored"))
                consumer.seek(*place, positions[place] + behind - READ_BACK_MAX)
        yield from read_all(consumer, READ_RECORDS, losses)
