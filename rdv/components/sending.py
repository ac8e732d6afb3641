"""Appends batches, so that a record that is too large does not keep others from the log."""

from __future__ import annotations

from collections.abc import Sequence

from rdv.errors import RdvError
from rdv.stream import Producer
from rdv.stream.errors import RecordTooLarge


def send_fitting(
    producer: Producer,
    topic: str,
    lines: Sequence[bytes],
    partition: int | None = None,
    wait_ms: int | None = None,
) -> dict[int, RdvError]:
    """Append the lines in order; return an error for each line that is not recorded, by number.

    Usually this is one batch. A line beyond the stream's `record_bytes_max` is left out, and lines
    beyond `batch_bytes_max` together are split. Other errors concern all lines of their part; the
    beginning of it may be recorded then. `wait_ms` as in `send_many`.
    """
    try:
        producer.send_many(topic, lines, partition=partition, wait_ms=wait_ms)
    except RecordTooLarge as error:
        return _send_in_parts(producer, topic, lines, partition, error, wait_ms)
    except RdvError as error:
        return dict.fromkeys(range(len(lines)), error)
    return {}


def _send_in_parts(
    producer: Producer,
    topic: str,
    lines: Sequence[bytes],
    partition: int | None,
    error: RecordTooLarge,
    wait_ms: int | None,
) -> dict[int, RdvError]:
    if error.what == "batch":
        if len(lines) == 1:
            return {0: error}
        half = len(lines) // 2
        failed = send_fitting(producer, topic, lines[:half], partition, wait_ms)
        rest = send_fitting(producer, topic, lines[half:], partition, wait_ms)
        return failed | {half + number: why for number, why in rest.items()}
    limit = error.limit_bytes
    too_large: dict[int, RdvError] = {
        number: RecordTooLarge(len(line), limit)
        for number, line in enumerate(lines)
        if len(line) > limit
    }
    numbers = [number for number in range(len(lines)) if number not in too_large]
    if not numbers:
        return too_large
    failed = send_fitting(
        producer, topic, [lines[number] for number in numbers], partition, wait_ms
    )
    return too_large | {numbers[at]: why for at, why in failed.items()}
