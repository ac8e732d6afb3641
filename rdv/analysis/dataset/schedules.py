"""Find schedules by the label in results: as the server accepted them, else as the files are."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec

from rdv import toml_text
from rdv.analysis.dataset.notes import Notes
from rdv.analysis.dataset.places import Recorded
from rdv.analysis.dataset.source import sources
from rdv.rendezvous.schedule import (
    InvalidSchedule,
    Schedule,
    schedule_from_object,
    schedule_from_toml,
)
from rdv.rendezvous.schedule.model import RECORDED_SLA_MS_MAX
from rdv.rendezvous.topology import CONTROL, SCHEDULE_TOPIC

SUFFIX = ".toml"
VERSIONS_MAX = 100_000
INLINE_LABEL = "inline@"


class _Line(msgspec.Struct):
    """A line of `control:schedule`."""

    time_ns: int
    name: str
    hash: str
    schedule: dict[str, Any]
    live: bool = True
    """False for a schedule that only requests and cohorts may name."""


@dataclass(frozen=True)
class Version:
    """A schedule that went live."""

    time_ns: int
    label: str


@dataclass
class ScheduleShelf:
    """All schedules of a decision that can still be found."""

    by_label: dict[str, Schedule] = field(default_factory=dict)
    files: dict[str, Schedule] = field(default_factory=dict)
    """Schedules by name, as the files are now."""
    versions: list[Version] = field(default_factory=list)
    """The schedules that were live, in order."""

    def find(self, label: str, asked: str | None = None) -> Schedule | None:
        """Return a schedule by its label; an inline one from the JSON that was `asked` for."""
        found = self.by_label.get(label)
        if found is None and label.startswith(INLINE_LABEL) and asked is not None:
            found = inline(asked)
            if found is not None and found.label != label:
                return None
        return found

    @property
    def live(self) -> Schedule | None:
        """The schedule that went live last."""
        return self.by_label.get(self.versions[-1].label) if self.versions else None

    def named(self) -> Mapping[str, Schedule]:
        """Return schedules by name: the files, else the last live version of the name."""
        last = {self.by_label[v.label].name: self.by_label[v.label] for v in self.versions}
        return {**last, **self.files}


def inline(text: str) -> Schedule | None:
    """Return the schedule that a request carries; None if it is not valid."""
    try:
        return schedule_from_object(msgspec.json.decode(text), sla_ms_max=RECORDED_SLA_MS_MAX)
    except (InvalidSchedule, msgspec.DecodeError, RecursionError):
        return None


def read_schedules(recorded: Recorded, notes: Notes) -> ScheduleShelf:
    """Read all schedules that are recorded or in DIR/schedules. Raises the log's SystemFaults."""
    shelf = ScheduleShelf()
    decoder = msgspec.json.Decoder(_Line)
    for source in sources(recorded.stream(CONTROL), [SCHEDULE_TOPIC]):
        for chunk in source.chunks(source.begin, source.end, notes):
            for row in range(len(chunk)):
                _take(shelf, chunk.line(row), decoder, notes)
    _read_files(shelf, os.path.join(recorded.directory, "schedules"))
    return shelf


def _take(
    shelf: ScheduleShelf, line: bytes, decoder: msgspec.json.Decoder[_Line], notes: Notes
) -> None:
    try:
        version = decoder.decode(line)
        own = {k: v for k, v in version.schedule.items() if k not in ("name", "content_hash")}
        schedule = schedule_from_object(own, version.name, sla_ms_max=RECORDED_SLA_MS_MAX)
    except (msgspec.DecodeError, InvalidSchedule, RecursionError):
        notes.malformed[CONTROL] += 1
        return
    if schedule.content_hash != version.hash or len(shelf.by_label) >= VERSIONS_MAX:
        notes.gap(f"a recorded version of schedule {version.name!r} is not what its hash says")
        return
    shelf.by_label[schedule.label] = schedule
    if version.live:
        shelf.versions.append(Version(version.time_ns, schedule.label))


def _read_files(shelf: ScheduleShelf, folder: str) -> None:
    """Read the schedule files, and skip what cannot be read; `rdv schedule check` reports it."""
    try:
        names = sorted(os.listdir(folder))
    except OSError:
        return
    for name in names:
        stem, suffix = os.path.splitext(name)
        if suffix != SUFFIX or stem.startswith("."):
            continue
        path = os.path.join(folder, name)
        try:
            schedule = schedule_from_toml(toml_text.read(path), stem, path)
        except (OSError, toml_text.NotToml, InvalidSchedule):
            continue
        shelf.files[stem] = schedule
        shelf.by_label.setdefault(schedule.label, schedule)
