"""Implement `rdv stream verify`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rdv.commands.errors import DamageFound
from rdv.commands.opening import open_files, places_of, read_target
from rdv.commands.options import Json, Partition, PathOrTopic, Quiet
from rdv.commands.output import Column, Output, Progress, number
from rdv.commands.units import about_size

if TYPE_CHECKING:
    from rdv.stream import TopicPartition
    from rdv.stream.errors import RecordsDamaged
    from rdv.stream.files import FileStream

EXAMPLES = (
    "rdv stream verify fraud/input",
    "rdv stream verify fraud/input:requests --partition 0",
    "rdv stream verify fraud/input --json | jq '.damage[]'",
)
_COLUMNS = (
    Column("topic"),
    number("partition"),
    number("segments"),
    number("records"),
    number("values_bytes", "values", about_size),
    number("damaged"),
    number("given_up"),
    Column("state"),
)


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
        return sum(one.records for one in self.damage)


def verify(
    address: PathOrTopic,
    *,
    partition: Partition = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Check every byte; exits 1 on damage.

    Only reads, and is safe while other processes write. Damage is named by file, offsets and bytes.
    VALUES is the size of the records alone; rdv stream info counts their index as well. GIVEN UP
    counts records that an earlier repair has marked as lost.
    """
    target = read_target(address)
    output = Output(as_json=as_json, quiet=quiet)
    with open_files(target, look=True) as stream:
        found = find_all(stream, places_of(stream, target, partition))
    output.table(_COLUMNS, [_row(findings) for findings in found])
    for findings in found:
        if findings.unnamed_bytes:
            output.note(
                f"{findings.place}: {findings.unnamed_bytes} bytes of values at the end are in no "
                f"index: an append is under way or was killed, or the index has been cut"
            )
    damage = [one for findings in found for one in findings.damage]
    if damage:
        for one in damage:
            output.text(describe_damage(one))
        records = sum(findings.damaged for findings in found)
        raise DamageFound(str(target), len(damage), records)
    if output.is_human:
        output.note(f"no damage in {sum(findings.records for findings in found):,} records")


def find_all(stream: FileStream, places: list[TopicPartition]) -> list[Findings]:
    """Verify partitions, with progress on a terminal."""
    total = sum(stream.size_bytes(*place) for place in places)

    def describe(done: int, total: int) -> str:
        return f"checked {about_size(done)} of {about_size(total)}"

    with Progress(describe, total) as progress:
        return [check_place(stream, place, progress.advance) for place in places]


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


def _row(findings: Findings) -> dict[str, Any]:
    place = findings.place._asdict()
    return {
        **place,
        "segments": findings.segments,
        "records": findings.records,
        "values_bytes": findings.size_bytes,
        "damaged": findings.damaged,
        "given_up": findings.given_up,
        "unnamed_bytes": findings.unnamed_bytes,
        "state": "DAMAGED" if findings.damage else "sound",
        "damage": [
            {n: v for n, v in vars(one).items() if n not in place} | {"code": one.kind()}
            for one in findings.damage
        ],
    }
