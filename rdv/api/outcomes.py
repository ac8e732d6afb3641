"""Record outcomes in a decision's log directly: no process needs to run."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import AbstractContextManager
from itertools import islice
from typing import Any, NamedTuple

import msgspec

from rdv.analysis.dataset.known import unknown_ids
from rdv.analysis.dataset.places import Recorded
from rdv.analysis.errors import NothingRecorded
from rdv.client.calls import dump
from rdv.client.errors import InvalidCall
from rdv.decision import Decision
from rdv.decision.errors import NoRequestMatches
from rdv.decision.streams import open_outcomes
from rdv.errors import LineUnusable
from rdv.frames import OutcomeRow, outcome_rows
from rdv.moment import InvalidMoment
from rdv.payload import UnusableJson, check_json
from rdv.rendezvous.messages import ReportedOutcome, Truth, encode_truth, with_source
from rdv.rendezvous.topology import CLI_TOPIC
from rdv.serve.outbox import send_fitting

BATCH = 1_000
LOOKED_UP_MAX = 5_000_000
"""From this number of outcomes on their ids are not looked up, at 100 bytes each."""

Progress = Callable[[int], None]

_decode = msgspec.json.Decoder(ReportedOutcome).decode


class RecordedOutcomes(NamedTuple):
    """How many outcomes were recorded, and how many of their ids are of no recorded request."""

    recorded: int
    unknown_ids: int


def _nothing(_: int) -> None:
    pass


@contextlib.contextmanager
def _unseen() -> Iterator[Progress]:
    """Show no progress."""
    yield _nothing


def record_truths(
    decision: Decision, truths: Iterable[Truth], progress: Callable[[int], None] = _nothing
) -> int:
    """Record outcomes in batches; return the number. Raises the log's SystemFaults."""
    config = decision.log.stream_config(decision.partitions)
    rest, count = with_source(f"cli:{_user()}", truths), 0
    with open_outcomes(decision.directory, config) as stream, stream.producer() as producer:
        while batch := list(islice(rest, BATCH)):
            lines = [encode_truth(truth) for truth in batch]
            for error in send_fitting(producer, CLI_TOPIC, lines, 0).values():
                raise error
            count += len(batch)
            progress(len(batch))
    return count


def unknown_of(
    decision: Decision, ids: Collection[str], progress: Callable[[int], None] = _nothing
) -> Collection[str]:
    """Return the ids that no recorded request has; none if no request is recorded at all."""
    try:
        with Recorded(decision.directory) as recorded:
            return unknown_ids(recorded, ids, progress) or ()
    except NothingRecorded:
        return ()


def record_frame(
    decision: Decision, given: Any, id_: str, outcome: str, time: str, now_ns: int
) -> RecordedOutcomes:
    """Record the outcomes of a frame or an iterable, once every row is checked.

    Raises LineUnusable, FrameUnusable, and NoRequestMatches if no id is that of a request.
    """
    rows = outcome_rows(given, id_, outcome, time)
    truths = [truth_of(row, now_ns) for row in rows]
    return record_checked(decision, lambda: truths, "these outcomes")


def record_checked(
    decision: Decision,
    truths: Callable[[], Iterable[Truth]],
    what: str,
    *,
    looking_up: Callable[[], AbstractContextManager[Progress]] = _unseen,
    recording: Callable[[], AbstractContextManager[Progress]] = _unseen,
) -> RecordedOutcomes:
    """Record outcomes once all of them can be read and their ids are looked up.

    `truths` is called twice; `what` names them in the error; `looking_up` and `recording` return
    what shows the progress. Raises NoRequestMatches if no id is that of a request, and what
    `truths` raises.
    """
    ids = set[str]()
    for truth in truths():
        if len(ids) < LOOKED_UP_MAX:
            ids.add(truth.id)
    unknown: Collection[str] = ()
    if len(ids) < LOOKED_UP_MAX:
        with looking_up() as progress:
            unknown = unknown_of(decision, ids, progress)
    if ids and len(unknown) == len(ids):
        raise NoRequestMatches(what, len(ids), min(ids))
    with recording() as progress:
        return RecordedOutcomes(record_truths(decision, truths(), progress), len(unknown))


def truth_of(row: OutcomeRow, now_ns: int) -> Truth:
    """Return an outcome as it is recorded. Raises LineUnusable."""
    try:
        value = check_json(dump(row.outcome))
        fields: dict[str, Any] = {"id": row.id, "outcome": msgspec.Raw(value)}
        if row.time is not None:
            fields["time"] = row.time
        return _decode(msgspec.json.encode(fields)).truth(now_ns)
    except InvalidMoment as error:
        raise LineUnusable(
            row.number, f"has an unusable time: {error.text()}", error.hint()
        ) from None
    except (UnusableJson, InvalidCall, ValueError) as error:
        raise LineUnusable(row.number, f"is not an outcome: {error}") from None


def _user() -> str:
    """Return the user of this process, from the system, not from the environment."""
    import pwd

    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return str(os.getuid())
