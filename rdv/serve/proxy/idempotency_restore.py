"""Restores the Idempotency-Keys of a restarted proxy from its topic: answered and open ones.

The request is recorded with its key; of several rows in one HTTP request each is, with its place.
Its answer is the one that the proxy gave itself, else the server's result; a request without either
is still open, or gets the marked default at once.
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
from rdv.rendezvous.messages import (
    Idempotency,
    MalformedMessage,
    Request,
    decode_request,
    decode_result,
)
from rdv.rendezvous.topology import backstop_topic
from rdv.serve.feeds import Losses, read_all
from rdv.serve.proxy.answers import answer_body
from rdv.serve.proxy.idempotency import IdempotencyKeys, KeyedRequest, KeyState, ScopedKey
from rdv.serve.proxy.proxy import Proxy
from rdv.serve.proxy.rows import ManyRows, RowOfMany, rows_body
from rdv.stream import Record, Stream

log = logging.getLogger("rdv.proxy")

READ_BACK_MAX = 500_000
"""The maximum number of newest records per partition that are read: about a second."""

FOUND_MAX = 100_000
"""The maximum number of keyed requests that are looked for, at least: each row is one."""

READ_RECORDS = 5_000
DECIDE = "/v1/decide"
_MARK = b'"idempotency":'


class _Found(msgspec.Struct):
    """Describes a keyed request without its data: there may be many, and large ones."""

    mark: Idempotency
    is_traced: bool
    wall_ns: int


class _Kept:
    """What was answered of one HTTP request with a key: a decision, or several rows."""

    def __init__(self, state: KeyState, count: int) -> None:
        """`count` is 0 for a request that is no list of rows."""
        self.state = state
        self.count = count
        self.answers: dict[int, bytes] = {}

    @property
    def is_whole(self) -> bool:
        return len(self.answers) >= (self.count or 1)

    def add(self, row: int, body: bytes) -> int:
        """Keep the answer to a row, while there is room; return how many bytes that are."""
        self.answers[row] = body if self.state.is_kept else b""
        return len(self.answers[row])

    def drop(self, *, is_lost: bool = True) -> int:
        """Forget the answers, but not that there are any; return how many bytes they were."""
        size = sum(map(len, self.answers.values()))
        self.answers = dict.fromkeys(self.answers, b"")
        self.state.is_kept = self.state.is_kept and not is_lost
        return size

    def body(self) -> bytes:
        """Return the answer, once all of it is there."""
        if not self.count:
            return self.answers[0]
        return rows_body([self.answers[row] for row in range(self.count)])


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
    found_max = max(limits.keys_max, FOUND_MAX)
    for record, request in _keyed_requests(streams, name, since, proxy.losses):
        assert request.idempotency is not None
        found[request.id] = _Found(request.idempotency, request.trace, record.timestamp_ns)
        if len(found) > 2 * found_max:
            found = _newest(found, found_max)
    kept = _remembered(_newest(found, found_max), repeats, clock)
    if not kept:
        return
    _restore_answers(streams, name, since, repeats, kept, found, proxy.losses)
    _reopen(proxy, streams, name, since, repeats, kept)
    log.info("%d Idempotency-Keys from before the start are remembered", len(repeats))


def _newest(found: dict[str, _Found], count: int) -> dict[str, _Found]:
    """Return the newest ones, the oldest of them first."""
    ordered = sorted(found.items(), key=lambda item: item[1].wall_ns)
    return dict(ordered[-count:])


def _remembered(
    found: dict[str, _Found], repeats: IdempotencyKeys, clock: Clock
) -> dict[str, _Kept]:
    """Remember the keys of requests that are whole in the log; return them by the ids in them.

    Rows that were answered without a record, and those of a batch that was cut off by a kill, are
    not there: a repeat of their request is decided as a new one.
    """
    limits, now_ns, wall_ns = repeats.limits, clock.monotonic_ns(), clock.wall_ns()
    batches: dict[str, list[str]] = {}
    for id_, one in found.items():
        batches.setdefault(one.mark.batch or id_, []).append(id_)
    whole = [
        ids
        for ids in batches.values()
        if len({found[id_].mark.row for id_ in ids}) == (found[ids[0]].mark.rows or 1)
    ]
    kept: dict[str, _Kept] = {}
    for ids in whole[-limits.keys_max :]:
        one = found[ids[0]]
        place = ScopedKey(one.mark.client, DECIDE, one.mark.key)
        age_ns = min(max(0, wall_ns - one.wall_ns), limits.keep_ms * 1_000_000)
        state = repeats.restore(place, one.mark.body, now_ns - age_ns)
        kept |= dict.fromkeys(ids, _Kept(state, one.mark.rows))
    return kept


def _reopen(
    proxy: Proxy,
    streams: Streams,
    name: str,
    since: timedelta,
    repeats: IdempotencyKeys,
    kept: dict[str, _Kept],
) -> None:
    """Open the requests again that have no answer, each with the rows of its batch."""
    is_open = {id_ for id_, one in kept.items() if not one.state.status}
    if not is_open:
        return
    many: dict[str, ManyRows] = {}
    for record, request in _keyed_requests(streams, name, since, proxy.losses):
        mark = request.idempotency
        if request.id not in is_open or mark is None:
            continue
        is_open.remove(request.id)
        one = kept[request.id]
        since_ns = one.state.since_ns
        owner = KeyedRequest(None)
        if not mark.batch:
            owner.answers_for(repeats, one.state)
            proxy.reopen(owner, request, record.partition, since_ns)
            continue
        if (rows := many.get(mark.batch)) is None:
            owner.answers_for(repeats, one.state)
            rows = many[mark.batch] = ManyRows(owner, mark.batch, mark.rows, lambda: None)
            for row, body in one.answers.items():
                rows.answered(row, body)
        if mark.row not in one.answers:
            row_request = RowOfMany(rows, mark.row, b"")
            proxy.reopen(row_request, request, record.partition, since_ns)


def _keyed_requests(
    streams: Streams, name: str, since: timedelta, losses: Losses
) -> Iterator[tuple[Record, Request]]:
    for record in _records(streams.input, [name], since, losses):
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
    kept: dict[str, _Kept],
    found: dict[str, _Found],
    losses: Losses,
) -> None:
    """Restore the answers. The proxy's own answer is what the client received: it comes first."""
    held_bytes = 0
    """The size of answers to some rows of requests whose other answers have not come yet."""
    for topic in (backstop_topic(name), name):
        for record in _records(streams.results, [topic], since, losses):
            try:
                id_ = _read_id(record.value).id
                one = kept.get(id_)
                if one is None or one.state.status or found[id_].mark.row in one.answers:
                    continue
                result = decode_result(record.value)
            except (MalformedMessage, msgspec.DecodeError, RecursionError):
                continue
            body = answer_body(result, result.waited_ms, trace=found[id_].is_traced)
            held_bytes += one.add(found[id_].mark.row, body)
            if held_bytes > repeats.limits.bytes_max:
                held_bytes -= one.drop()
            if one.is_whole:
                repeats.answered(one.state, 200, one.body())
                held_bytes -= one.drop(is_lost=False)


def _records(
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
