"""Implement `rdv stream repair`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rdv.commands.opening import open_files, places_of, read_target
from rdv.commands.options import Json, Partition, PathOrTopic, Quiet, Yes
from rdv.commands.output import Column, Output, number
from rdv.commands.stream.verify import describe_damage, find_all
from rdv.commands.terminal import confirm

if TYPE_CHECKING:
    from rdv.stream import TopicPartition
    from rdv.stream.files import Repair

EXAMPLES = (
    "rdv stream repair fraud/input",
    "rdv stream repair fraud/input:requests --partition 0 --yes",
)
_COLUMNS = (
    Column("topic"),
    number("partition"),
    number("base", "segment", show=str),
    number("given_up"),
    Column("path"),
)


def repair(
    address: PathOrTopic,
    *,
    partition: Partition = None,
    yes: Yes = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Repair damage, keeping .broken copies.

    Verifies, shows the damage and asks. Records that cannot be recovered are marked as given up,
    and readers skip them; offsets never shift. The damaged files stay next to the repaired ones
    with the suffix .broken.
    """
    target = read_target(address)
    output = Output(as_json=as_json, quiet=quiet)
    with open_files(target) as stream:
        found = find_all(stream, places_of(stream, target, partition))
        damaged = [findings for findings in found if findings.damage]
        if not damaged:
            output.note("nothing to repair")
            return
        for findings in damaged:
            for damage in findings.damage:
                output.note(describe_damage(damage))
        where = ", ".join(str(findings.place) for findings in damaged)
        if not confirm(f"Repair {where}?", doing=f"repairing {where}", yes=yes):
            output.note("nothing repaired")
            return
        repairs = [
            (findings.place, one) for findings in damaged for one in stream.repair(*findings.place)
        ]
    output.table(_COLUMNS, [_row(place, one) for place, one in repairs])
    for _, one in repairs:
        for copy in one.broken_copies:
            output.text(f"kept {copy}")


def _row(place: TopicPartition, done: Repair) -> dict[str, object]:
    return {
        **place._asdict(),
        "path": done.path,
        "base": done.base,
        "given_up": done.given_up,
        "broken_copies": list(done.broken_copies),
    }
