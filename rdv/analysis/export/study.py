"""Export all tables of a decision's log into one directory.

What it makes is files, so it has neither a result.py nor a view.py: `Exported` has their totals.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from rdv.analysis.dataset.join import Join
from rdv.analysis.dataset.notes import Notes
from rdv.analysis.dataset.outcomes import read_outcomes
from rdv.analysis.dataset.places import Recorded
from rdv.analysis.dataset.source import sources
from rdv.analysis.errors import NothingRecorded, RecordsMissing, UnknownTable
from rdv.analysis.export.arrow import Answers
from rdv.analysis.export.columns import TABLES, Table
from rdv.analysis.export.files import DayFiles, Place, Written, write_empty
from rdv.analysis.export.rows import (
    Rows,
    input_rows,
    joined_rows,
    outcome_rows,
    result_rows,
    score_rows,
)
from rdv.clock import SYSTEM_CLOCK, Clock

JOINED_MAX = 20_000
"""The maximum number of requests in one batch of the join."""

_ROWS: dict[Table, Rows] = {
    "input": input_rows,
    "scores": score_rows,
    "results": result_rows,
    "outcomes": outcome_rows,
}


@dataclass
class Exported:
    """What was written. `notes` are what a reader must know of the log."""

    out: str
    tables: dict[Table, Written] = field(default_factory=dict)
    notes: Notes = field(default_factory=Notes)

    def raise_if_damaged(self) -> None:
        """Raise RecordsMissing if damaged records had to be skipped."""
        if self.notes.damaged:
            raise RecordsMissing(self.out, self.notes.damaged, tuple(self.notes.gaps))


def read_tables(names: Sequence[str]) -> tuple[Table, ...]:
    """Return the tables of these names; all tables without any name. Raises UnknownTable."""
    for name in names:
        if name not in TABLES:
            raise UnknownTable(name, tuple(TABLES))
    return tuple(table for table in TABLES if not names or table in names)


def export(
    recorded: Recorded,
    out: str,
    since_ns: int | None = None,
    until_ns: int | None = None,
    *,
    tables: Sequence[Table] = tuple(TABLES),
    force: bool = False,
    progress: Callable[[int], None] = lambda _: None,
    clock: Clock = SYSTEM_CLOCK,
) -> Exported:
    """Write `tables` of what was appended between these times into the directory `out`.

    Memory is bounded by a chunk of a segment, and for `joined` by a batch of the join and the
    outcomes. `progress` gets numbers of rows. Damaged records are skipped and noted. An existing
    table is replaced after everything is written; until then nothing new is visible. Raises
    OutputInUse, ExportUnderWay, NothingRecorded, and the log's SystemFaults.
    """
    found = Exported(out)
    with Place(out, force=force) as place:
        for table in tables:
            found.tables[table] = Written()
            if table == "joined":
                _export_joined(recorded, place.work, since_ns, until_ns, found, progress, clock)
            else:
                span = since_ns, until_ns
                _export_stream(recorded, place.work, table, span, found, progress)
        if not any(written.rows for written in found.tables.values()):
            raise NothingRecorded(recorded.directory, "messages")
        for table, written in found.tables.items():
            if not written.rows:
                write_empty(place.work, table, clock.wall_ns())
        place.finish(tables, _tables_written(found, since_ns, until_ns, clock.wall_ns()))
    return found


def _export_stream(
    recorded: Recorded,
    work: str,
    table: Table,
    span: tuple[int | None, int | None],
    found: Exported,
    progress: Callable[[int], None],
) -> None:
    answers, rows, notes = Answers(), _ROWS[table], found.notes
    since_ns, until_ns = span
    for source in sources(recorded.stream(table)):
        start = source.begin if since_ns is None else source.offset_at(since_ns)
        part = f"{source.topic}.{source.partition}"
        with DayFiles(work, table, part, found.tables[table]) as files:
            for chunk in source.chunks(start, source.offset_at(until_ns), notes):
                files.add(rows(chunk, notes, answers))
                progress(len(chunk))
    if answers.unreadable:
        notes.unreadable["outcomes" if table == "outcomes" else "answers"] += answers.unreadable


def _export_joined(
    recorded: Recorded,
    work: str,
    since_ns: int | None,
    until_ns: int | None,
    found: Exported,
    progress: Callable[[int], None],
    clock: Clock,
) -> None:
    join = Join(recorded, since_ns, until_ns, requests_max=JOINED_MAX, clock=clock)
    answers, outcomes = Answers(), read_outcomes(recorded, Notes())
    with DayFiles(work, "joined", "requests", found.tables["joined"]) as files:
        try:
            for joined in join:
                files.add(joined_rows(joined, outcomes, answers))
                progress(len(joined))
        except NothingRecorded:
            pass
    if set(found.tables) == {"joined"}:  # else the other tables have counted the same
        found.notes = join.notes


def _tables_written(
    found: Exported, since_ns: int | None, until_ns: int | None, now_ns: int
) -> dict[str, Any]:
    """Return the entry of each table in the manifest."""
    notes = found.notes
    common = {
        "exported_ns": now_ns,
        "since_ns": since_ns,
        "until_ns": until_ns,
        "damaged": notes.damaged,
        "gaps": notes.gaps,
    }
    return {table: {**asdict(written), **common} for table, written in found.tables.items()}
