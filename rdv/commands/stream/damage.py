"""`verify` and `repair` share the findings of verifying a partition."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rdv.stream.errors import RecordsDamaged
    from rdv.stream.file.stream import FileStream
    from rdv.stream.record import TopicPartition


@dataclass(frozen=True)
class Findings:
    """The findings of all segments of a partition, added up."""

    place: TopicPartition
    segments: int
    records: int
    size_bytes: int
    given_up: int
    damage: tuple[RecordsDamaged, ...]
    unnamed_bytes: int

    @property
    def damaged(self) -> int:
        """The number of offsets that cannot be read."""
        return sum(one.last_offset - one.first_offset + 1 for one in self.damage)


def check_place(
    stream: FileStream, place: TopicPartition, advance: Callable[[int], None]
) -> Findings:
    """Verify one partition; `advance` is called with the bytes of each segment."""
    reports = []
    for report in stream.verify(*place):
        reports.append(report)
        advance(report.size_bytes)
    return Findings(
        place,
        len(reports),
        sum(report.records for report in reports),
        sum(report.size_bytes for report in reports),
        sum(report.lost for report in reports),
        tuple(one for report in reports for one in report.damage),
        sum(report.unnamed_bytes for report in reports),
    )


def describe_damage(damage: RecordsDamaged) -> str:
    """Return one line: where, which offsets, which bytes, why."""
    return f"{damage.path}: {_offsets(damage)}, {_bytes(damage)}: {damage.reason}"


def _offsets(damage: RecordsDamaged) -> str:
    if damage.first_offset == damage.last_offset:
        return f"offset {damage.first_offset}"
    return f"offsets {damage.first_offset} to {damage.last_offset}"


def _bytes(damage: RecordsDamaged) -> str:
    if not damage.size_bytes:
        return f"from byte {damage.position_bytes}"
    return f"bytes {damage.position_bytes} to {damage.position_bytes + damage.size_bytes - 1}"
