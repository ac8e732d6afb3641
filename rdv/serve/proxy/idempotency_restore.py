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
from rdv.rendezvous.messages import MalformedMessage, Request, decode_request, decode_result
from rdv.rendezvous.topology import backstop_topic
from rdv.serve.feeds import Losses, read_all
from rdv.serve.proxy.answers import answer_body
from rdv.serve.proxy.idempotency import IdempotencyKeys, KeyedRequest, KeyState, ScopedKey
from rdv.serve.proxy.proxy import Proxy
from rdv.stream import Record, Stream

log = logging.getLogger("rdv.proxy")

READ_BACK_MAX = 500_000
"""The maximum number of newest records per partition that are read: about a second."""

READ_RECORDS = 5_000
DECIDE = "/v1/decide"
_MARK = b'"idempotency":'


class _Found(msgspec.Struct):
    """Describes a keyed request without its data: there may be many, and large ones."""

    place: ScopedKey
    fingerprint: str
    is_traced: bool
    wall_ns: int


class _Named(msgspec.Struct):
    id: str


_read_id = msgspec.json.Decoder(_Named).decode


def restore(proxy: Proxy, streams: Streams, repeats: IdempotencyKeys, clock: Clock) -> None:
    """Fill `repeats`, and open unanswered requests again. To be called before the proxy listens.

    Memory is bounded by the limits of `repeats` and by one batch of records, whatever the size of
    the requests. Raises SystemFaults.
    """
    limits, name = repeats.limits, proxy.settings.name
    if not limits.keep_ms:
        return
    since = timedelta(milliseconds=limits.keep_ms)
    found: dict[str, _Found] = {}
    for record, request in _keyed_requests(streams, name, since, proxy.losses):
        mark = request.idempotency
        assert mark is not None
        place = ScopedKey(mark.client, DECIDE, mark.key)
        found[request.id] = _Found(place, mark.body, request.trace, record.timestamp_ns)
        if len(found) > 2 * limits.keys_max:
            found = _newest_keys(found, limits.keys_max)
    if not found:
        return
    now_ns, wall_ns = clock.monotonic_ns(), clock.wall_ns()
    states: dict[str, KeyState] = {}
    for id_, one in _newest_keys(found, limits.keys_max).items():
        age_ns = min(max(0, wall_ns - one.wall_ns), limits.keep_ms * 1_000_000)
        states[id_] = repeats.restore(one.place, one.fingerprint, now_ns - age_ns)
    _restore_answers(streams, name, since, repeats, states, found, proxy.losses)
    is_open = {id_ for id_, state in states.items() if not state.status}
    if is_open:
        for record, request in _keyed_requests(streams, name, since, proxy.losses):
            if request.id in is_open:
                is_open.remove(request.id)
                client = KeyedRequest(None)
                client.answers_for(repeats, states[request.id])
                proxy.reopen(client, request, record.partition, states[request.id].since_ns)
    log.info("%d Idempotency-Keys from before the start are remembered", len(repeats))


def _newest_keys(found: dict[str, _Found], count: int) -> dict[str, _Found]:
    """Return the newest ones, the oldest of them first."""
    ordered = sorted(found.items(), key=lambda item: item[1].wall_ns)
    return dict(ordered[-count:])


def _keyed_requests(
    streams: Streams, name: str, since: timedelta, losses: Losses
) -> Iterator[tuple[Record, Request]]:
    for record in _newest(streams.input, [name], since, losses):
        if _MARK not in record.value:
            continue
        try:
            request = decode_request(record.value)
        except MalformedMessage:
            continue
        if request.idempotency is not None:
            yield record, request


def _restore_answers(
    streams: Streams,
    name: str,
    since: timedelta,
    repeats: IdempotencyKeys,
    states: dict[str, KeyState],
    found: dict[str, _Found],
    losses: Losses,
) -> None:
    """Restore the answers. The proxy's own answer is what the client received: it comes first."""
    for topic in (backstop_topic(name), name):
        for record in _newest(streams.results, [topic], since, losses):
            try:
                state = states.get(_read_id(record.value).id)
                if state is None or state.status:
                    continue
                result = decode_result(record.value)
            except (MalformedMessage, msgspec.DecodeError, RecursionError):
                continue
            body = answer_body(result, result.waited_ms, trace=found[result.id].is_traced)
            repeats.answered(state, 200, body)


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
