"""Decide which settings are in force: the contents of the files, as far as they are valid.

One process decides that: the supervisor (or a stage, which is a single process anyway). It reads
rdv.toml and the schedules after each edit, keeps the last good version of what is invalid, and
publishes the outcome as one file, `.rdv/accepted/settings.json`. The other processes start from
that file and follow it, so that a process that is restarted after a bad edit has the same settings
as the rest.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

import msgspec

from rdv.coded import NO_FAULT, Coded, of_error
from rdv.decision.decision import RUN_DIRECTORY, SECTIONS, Decision, Schedules, read_schedules
from rdv.decision.edit import replace_file
from rdv.decision.errors import InvalidDecision, ScheduleNotFound
from rdv.decision.files import enricher_files, files_of, settings_files
from rdv.decision.load import load_decision
from rdv.decision.model import ModelConfig
from rdv.decision.schema_source import schema_stamp, schema_text
from rdv.decision.sections import Effect, setting_fields
from rdv.errors import RdvError
from rdv.rendezvous.schedule import Schedule, lint_schedule, schedule_from_toml
from rdv.system.disk import directory_mode
from rdv.system.faults import faults

ALLOWED_FILE = "allowed-schedules"
ALLOWED_MAX = 100

Identity = tuple[int, int]
"""Device and inode of a directory."""
MISSING: Identity = (0, 0)
"""The identity of a directory that does not exist."""


@dataclass(frozen=True)
class Accepted:
    """Holds settings and schedules in force.

    `faults` are what in the files is not applied, and why.
    """

    decision: Decision
    schedules: Mapping[str, Schedule]
    texts: Mapping[str, str]
    faults: tuple[Coded, ...] = ()
    pending: tuple[str, ...] = ()
    """Keys that have been edited and take effect at the next `rdv serve`."""
    enricher: str = ""
    """Changes when the files of http.enrich have been edited."""
    identity: Identity = MISSING
    """Device and inode of the decision's directory."""
    schema: str = ""
    """What [schema] says, compiled (`rdv.decision.schema_check`); empty: nothing is checked."""
    schema_stamp: str = ""
    """Changes when [schema] or its files have been edited."""

    @property
    def live(self) -> Schedule:
        return self.schedules[self.decision.schedule]

    def is_same(self, other: Accepted) -> bool:
        """Return whether the same settings are in force."""
        mine, others = (
            (one.decision, {n: s.label for n, s in one.schedules.items()}, one.enricher, one.schema)
            for one in (self, other)
        )
        return mine == others


def accept_first(decision: Decision) -> Accepted:
    """Accept what is valid at a start.

    Raises the live schedule's fault, ScheduleNotFound, and InvalidDecision for [schema].
    """
    read = read_schedules(decision.directory)
    if decision.schedule not in read.by_name:
        if decision.schedule in read.unreadable:
            raise read.unreadable[decision.schedule]
        raise ScheduleNotFound(decision.directory, decision.schedule, tuple(sorted(read.by_name)))
    return Accepted(
        decision,
        read.by_name,
        read.texts,
        tuple(of_error(fault) for fault in read.faults),
        enricher=enricher_stamp(decision),
        identity=identity_of(decision.directory),
        schema=schema_text(decision),
        schema_stamp=schema_stamp(decision),
    )


def accept_edit(before: Accepted, elsewhere: Collection[str] = ()) -> Accepted:
    """Accept an edit: the files as they are now where they are valid, else as `before`.

    `elsewhere`: models that run without being declared (`rdv model run`). Raises nothing.
    """
    was = before.decision
    if identity_of(was.directory) != before.identity:
        reason = (
            f"{was.directory} is not the directory any more that is served: nothing of it is "
            "taken over; start rdv serve again"
        )
        return replace(
            before, faults=(Coded("directory_replaced", reason, was.directory),), pending=()
        )
    found: list[Coded] = []
    try:
        decision = load_decision(was.directory)
    except RdvError as error:
        found.append(of_error(error))
        decision, pending = was, before.pending
    else:
        pending = tuple(changed_keys(was, decision, "serve"))
    now = held_back(was, decision)
    if _loses_its_models(before, now, elsewhere):
        reason = (
            f"{now.file}: no model is left that the schedule {was.schedule} accepts, as in a file "
            "that is half written: remove them from the schedule first"
        )
        found.append(Coded("model-unknown", reason, now.file))
        now, pending = was, before.pending
    read = read_schedules(was.directory)
    found += [of_error(fault) for fault in read.faults]
    schedules, texts = _usable(before, now, read, elsewhere, found)
    if missing := _missing(now, schedules, was, before.schedules):
        found.append(Coded("schedule_not_found", f"{now.file}: {missing}", now.file))
        now, pending = was, before.pending
        schedules, texts = _usable(before, now, read, elsewhere, [])
    now, schema, stamp = _schema(before, now, found)
    return Accepted(
        now,
        schedules,
        texts,
        tuple(found),
        pending,
        enricher_stamp(now),
        before.identity,
        schema,
        stamp,
    )


def _schema(before: Accepted, now: Decision, found: list[Coded]) -> tuple[Decision, str, str]:
    """Return the settings, the schema and its stamp; what cannot be used stays as it was."""
    stamp = schema_stamp(now)
    if stamp == before.schema_stamp:
        return now, before.schema, stamp
    try:
        return now, schema_text(now), stamp
    except InvalidDecision as error:
        fault = of_error(error)
        text = f"{fault.text}; the [schema] before stays in force"
        found.append(Coded(fault.code, text, fault.about))
        kept = now.replace(schema=before.decision.schema)
        return kept, before.schema, before.schema_stamp


def _loses_its_models(before: Accepted, now: Decision, elsewhere: Collection[str]) -> bool:
    """Return whether the live schedule loses all of its models, while it stays the same.

    An editor that truncates rdv.toml before it writes makes a valid file without any model.
    """
    live = before.live
    read = read_schedules(now.directory).by_name.get(now.schedule)
    if read is None or read.label != live.label:
        return False

    def has_models(decision: Decision) -> bool:
        known = {*decision.scoring_models(), *elsewhere}
        named = {name for step in live.steps for name in step.accept}
        return bool(known if "*" in named else known & named)

    return has_models(before.decision) and not has_models(now)


def _usable(
    before: Accepted,
    decision: Decision,
    read: Schedules,
    elsewhere: Collection[str],
    found: list[Coded],
) -> tuple[dict[str, Schedule], dict[str, str]]:
    """Return the schedules of the files, or those of `before` where the files have errors."""
    schedules: dict[str, Schedule] = {}
    texts: dict[str, str] = {}
    allowed = allowed_schedules(decision.directory)
    in_use = _in_use(decision)
    for name in sorted({*before.schedules, *read.by_name}):
        old, new = before.schedules.get(name), read.by_name.get(name)
        reason = NO_FAULT
        if new is None:
            if name not in read.unreadable:
                if name not in in_use:
                    continue
                reason = Coded("schedule_in_use", "the file is gone, but in use")
        elif (old is None or new.label != old.label) and new.label not in allowed:
            errors = errors_of(new, decision, elsewhere)
            reason = errors[0] if errors else NO_FAULT
        if new is not None and not reason.code:
            schedules[name], texts[name] = new, read.texts[name]
            continue
        kept = "its last version stays in force" if old else "it cannot be used"
        if reason.code:
            path = decision.schedule_path(name)
            found.append(Coded(reason.code, f"{path}: {reason.text}; {kept}", path))
        if old is not None:
            schedules[name], texts[name] = old, before.texts[name]
    return schedules, texts


def _in_use(decision: Decision) -> set[str]:
    groups = decision.cohorts.groups.values()
    return {decision.schedule, *(cohort.schedule for cohort in groups)}


def _missing(
    decision: Decision, schedules: Collection[str], was: Decision, known: Collection[str]
) -> str:
    """Return the fault of a schedule that the settings name and that does not exist.

    A schedule of a cohort that was missing before is not a fault.
    """
    if decision.schedule not in schedules:
        return f"schedule: there is no {decision.schedule!r} that can be used"
    lacking = _in_use(was) - set(known)
    for name, cohort in decision.cohorts.groups.items():
        if cohort.schedule not in schedules and cohort.schedule not in lacking:
            return f"cohorts.{name}.schedule: there is no {cohort.schedule!r} that can be used"
    return ""


def errors_of(schedule: Schedule, decision: Decision, elsewhere: Iterable[str] = ()) -> list[Coded]:
    """Return the errors of `rdv schedule check`."""
    known = [*decision.scoring_models(), *elsewhere]
    retired = [name for name, model in decision.models.items() if model.retired]
    found = lint_schedule(schedule, known, retired)
    return [Coded(one.code, one.line()) for one in found if one.severity == "error"]


def undeclared_models(accepted: Accepted) -> set[str]:
    """Return the models that a schedule names, and that no process is started for."""
    named = {m for s in accepted.schedules.values() for step in s.steps for m in step.accept}
    return named - {"*", *accepted.decision.scoring_models()}


def identity_of(directory: str) -> Identity:
    try:
        found = os.stat(directory)
    except OSError:
        return MISSING
    return found.st_dev, found.st_ino


def enricher_stamp(decision: Decision) -> str:
    """Return a hash of http.enrich's file, and the files beside it that it imports or names."""
    if not decision.http.enrich:
        return ""
    digest = hashlib.sha256()
    path = decision.http.enrich.partition(":")[0]
    for file in files_of(decision.directory, ModelConfig(path=path)):
        try:
            with open(file, "rb") as opened:
                digest.update(hashlib.sha256(opened.read()).digest())
        except OSError:
            digest.update(b"missing")
    return digest.hexdigest()


def allow_schedule(directory: str, schedule: Schedule) -> None:
    """Let a version of a schedule go live despite the linter (--force)."""
    path = os.path.join(directory, RUN_DIRECTORY, ALLOWED_FILE)
    known = [label for label in allowed_schedules(directory) if label != schedule.label]
    with faults(path, "write"):
        os.makedirs(os.path.dirname(path), 0o700, exist_ok=True)
        replace_file(path, "\n".join([*known[-ALLOWED_MAX:], schedule.label]).encode())


def allowed_schedules(directory: str) -> list[str]:
    """Return the labels of the versions that went live by --force."""
    try:
        with open(os.path.join(directory, RUN_DIRECTORY, ALLOWED_FILE), encoding="utf-8") as file:
            return file.read().split()
    except (OSError, UnicodeDecodeError):
        return []


class _Published(msgspec.Struct):
    decision: Decision
    schedules: dict[str, str]
    faults: tuple[str, ...]
    pending: tuple[str, ...]
    enricher: str
    identity: Identity
    coded_faults: tuple[Coded, ...] = ()
    """`faults` with their codes, which rdv 0.2.0 did not write."""
    schema: str = ""
    schema_stamp: str = ""


def published_path(directory: str) -> str:
    return os.path.join(directory, RUN_DIRECTORY, "accepted", "settings.json")


def publish(accepted: Accepted) -> None:
    """Write the settings to the file that the other processes read. Raises SystemFaults."""
    path = published_path(accepted.decision.directory)
    known = _Published(
        accepted.decision,
        dict(accepted.texts),
        tuple(fault.text for fault in accepted.faults),
        accepted.pending,
        accepted.enricher,
        accepted.identity,
        accepted.faults,
        accepted.schema,
        accepted.schema_stamp,
    )
    with faults(path, "write"):
        mode = accepted.decision.log.file_mode & 0o644
        os.makedirs(os.path.dirname(path), 0o700, exist_ok=True)
        replace_file(path, msgspec.json.encode(known), mode)
        with contextlib.suppress(PermissionError):  # not its owner
            os.chmod(os.path.dirname(path), directory_mode(mode))


def read_published(directory: str) -> Accepted:
    """Return the settings in force. Raises InvalidDecision, InvalidSchedule and SystemFaults."""
    path = published_path(directory)
    with faults(path, "read"), open(path, "rb") as file:
        data = file.read()
    try:
        known = msgspec.json.decode(data, type=_Published)
    except msgspec.DecodeError as error:
        raise InvalidDecision(path, "JSON", str(error)) from None
    schedules = {
        name: schedule_from_toml(text, name, path) for name, text in known.schedules.items()
    }
    return Accepted(
        known.decision.replace(directory=directory),
        schedules,
        known.schedules,
        known.coded_faults or tuple(Coded("", text) for text in known.faults),
        known.pending,
        known.enricher,
        known.identity,
        known.schema,
        known.schema_stamp,
    )


class Source:
    """Provides the settings of one process; one thread at a time.

    With `is_published` they are those that the supervisor has accepted; without a supervisor this
    process reads and checks the files itself.
    """

    def __init__(self, directory: str, *, is_published: bool = False) -> None:
        self.directory = directory
        self.is_published = is_published

    def first(self) -> Accepted:
        """Return the settings at the start. Raises RdvErrors of the configuration."""
        if self.is_published:
            return read_published(self.directory)
        return accept_first(load_decision(self.directory))

    def again(self, before: Accepted) -> Accepted:
        """Return the settings after an edit. Raises nothing: what is invalid stays as it was."""
        if not self.is_published:
            return accept_edit(before)
        try:
            return read_published(self.directory)
        except RdvError:
            return before

    def files(self, decision: Decision) -> list[str]:
        """Return the files to be watched."""
        if self.is_published:
            return [published_path(self.directory)]
        return [*settings_files(decision), *enricher_files(decision)]


def changed_keys(before: Decision, after: Decision, *effects: Effect) -> list[str]:
    """Return the dotted keys that differ, in the file's order, with the given effects or all."""
    return [key for key, effect in _changed(before, after) if not effects or effect in effects]


def held_back(before: Decision, after: Decision) -> Decision:
    """Return `after`, but with the old values of keys that take effect at the next `rdv serve`."""
    kept: dict[str, object] = {}
    for section in ("", *SECTIONS):
        old, new = (decision_part(decision, section) for decision in (before, after))
        values = {f.name: getattr(old, f.name) for f in setting_fields(type(old)) if _waits(f)}
        if not section:
            kept.update(values)
        elif values:
            kept[section] = msgspec.structs.replace(new, **values)
    return after.replace(**kept)


def decision_part(decision: Decision, section: str) -> msgspec.Struct:
    """Return a section by its name; the decision itself for the keys above all sections."""
    part: msgspec.Struct = getattr(decision, section) if section else decision
    return part


def _waits(field: object) -> bool:
    return getattr(field, "effect", None) == "serve"


def _changed(before: Decision, after: Decision) -> Iterator[tuple[str, Effect | None]]:
    for section in ("", *SECTIONS):
        yield from _differing(
            decision_part(before, section), decision_part(after, section), section
        )
    for name in {**before.models, **after.models}:
        yield from _of_table(before.models.get(name), after.models.get(name), f"models.{name}")
    yield from _differing(before.cohorts, after.cohorts, "cohorts")
    groups, now = before.cohorts.groups, after.cohorts.groups
    for name in {**groups, **now}:
        yield from _of_table(groups.get(name), now.get(name), f"cohorts.{name}")


def _of_table(
    old: msgspec.Struct | None, new: msgspec.Struct | None, key: str
) -> Iterator[tuple[str, Effect | None]]:
    """Yield the changes of a table; a new or removed table is one change."""
    if old is not None and new is not None:
        yield from _differing(old, new, key)
    elif old is not new:
        yield key, "live"


def _differing(
    old: msgspec.Struct, new: msgspec.Struct, place: str
) -> Iterator[tuple[str, Effect | None]]:
    for field in setting_fields(type(old)):
        if getattr(old, field.name) != getattr(new, field.name):
            yield f"{place}.{field.name}" if place else field.name, field.effect
