"""Edit an rdv.toml in place: its comments, order, formatting and line endings stay.

An edit is checked before it replaces the file by rename: the new text must be a valid decision, and
must differ from the old one in the intended key and nowhere else. Otherwise the file is left as it
is. Edits of several processes are serialized (flock on the directory).
"""

from __future__ import annotations

import contextlib
import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import Any

from rdv import toml_text
from rdv.decision.convert import check_model_name
from rdv.decision.decision import FILE_NAME, Decision
from rdv.decision.errors import (
    DecisionBusy,
    EditRefused,
    InvalidDecision,
    ModelExists,
    ModelNotFound,
    ScheduleNotFound,
)
from rdv.decision.events import Event, record_command, text_hash
from rdv.decision.load import load_decision, parse_decision, read_text, schedule_names
from rdv.decision.model import ModelConfig
from rdv.decision.schedules import read_schedule_text
from rdv.decision.text import model_lines, toml_key, toml_value
from rdv.errors import RdvError
from rdv.system.command_line import command_line
from rdv.system.disk import Disk
from rdv.system.faults import faults
from rdv.system.file_lock import FileLock

BUSY_TIMEOUT_MS = 5_000
_SHOWN_DEFAULT = re.compile(r"^#[ \t]?schedule[ \t]*=[^\r\n]*", re.MULTILINE)
_HEADER = re.compile(r"^[ \t]*\[", re.MULTILINE)
_MARK = "\0"
"""Does not occur in TOML."""

Table = dict[str, Any]
_ALONE = contextlib.nullcontext()


def set_live_schedule(directory: str, name: str) -> Decision:
    """Make another schedule the live one. Returns the new decision.

    The schedule must exist, but is not validated here. Raises ScheduleNotFound, EditRefused,
    DecisionBusy, InvalidDecision, SystemFaults.
    """
    known = schedule_names(directory)
    if name not in known:
        raise ScheduleNotFound(directory, name, known)
    with locked(directory):
        text = read_text(directory)
        meant = _table(text, directory) | {"schedule": name}
        return _replace(directory, "schedule", text, with_schedule(text, name), meant)


def replace_schedule(directory: str, name: str, old: str, new: str) -> None:
    """Replace a schedule file's text `old` by `new`, if the file still contains `old`.

    The text is not validated here. Raises ScheduleNotFound, EditRefused when the file has been
    edited meanwhile, DecisionBusy, SystemFaults.
    """
    known = schedule_names(directory)
    if name not in known:
        raise ScheduleNotFound(directory, name, known)
    path = _schedule_path(directory, name)
    with locked(directory):
        if read_schedule_text(path) != old:
            raise EditRefused(path, name, "it has been edited meanwhile")
        note_edit(directory, path, f"schedule {name}", old, new)
        write_text(path, new)


def add_schedule(directory: str, name: str, text: str) -> None:
    """Add a schedule file, unless it is there with this text already.

    The text is not validated here. Raises EditRefused when there is another schedule of that name,
    DecisionBusy, SystemFaults.
    """
    path = _schedule_path(directory, name)
    with locked(directory):
        if os.path.exists(path):
            if read_schedule_text(path) == text:
                return
            raise EditRefused(path, name, "there is another schedule of this name")
        note_edit(directory, path, f"schedule {name}", "", text)
        with faults(path, "write"):
            os.makedirs(os.path.dirname(path), exist_ok=True)
            replace_file(path, text.encode(), 0o644, durable=True)


def remove_schedule(directory: str, name: str, text: str) -> None:
    """Remove a schedule file that has this text; one that was edited stays, and so does none.

    Raises DecisionBusy, SystemFaults.
    """
    path = _schedule_path(directory, name)
    with locked(directory), faults(path, "remove"):
        try:
            if toml_text.read(path) == text:
                note_edit(directory, path, f"schedule {name}", text, "")
                os.unlink(path)
        except (FileNotFoundError, toml_text.NotToml):
            return


def set_cohort(directory: str, name: str, share: float, schedule: str) -> Decision:
    """Give a cohort this share of the keys; a cohort that is missing is added behind all others.

    So the keys of other cohorts stay where they are. Raises EditRefused if the cohort has another
    schedule, InvalidDecision if the shares are more than 1 together, DecisionBusy, SystemFaults.
    """
    with locked(directory):
        text = read_text(directory)
        old = _table(text, directory)
        cohorts = old.get("cohorts", {})
        table = {"share": share, "schedule": schedule}
        if name not in cohorts:
            lines = [f"[cohorts.{toml_key(name)}]"]
            lines += [f"{key} = {toml_value(value)}" for key, value in table.items()]
            new: str | None = with_table(text, lines)
        elif cohorts[name].get("schedule") != schedule:
            reason = f"it has the schedule {cohorts[name].get('schedule')!r}, not {schedule!r}"
            raise EditRefused(os.path.join(directory, FILE_NAME), f"cohorts.{name}", reason)
        else:
            table = cohorts[name] | table
            new = with_share(text, name, share)
        meant = old | {"cohorts": cohorts | {name: table}}
        return _replace(directory, f"cohorts.{name}", text, new, meant)


def remove_cohort(directory: str, name: str) -> Decision:
    """Remove a cohort, if it is there: its keys get the live schedule.

    Raises EditRefused, DecisionBusy, InvalidDecision, SystemFaults.
    """
    with locked(directory):
        text = read_text(directory)
        old = _table(text, directory)
        cohorts = old.get("cohorts", {})
        if name not in cohorts:
            return load_decision(directory, {})
        meant = old | {"cohorts": {key: cohorts[key] for key in cohorts if key != name}}
        new = without_table(text, "cohorts", name)
        return _replace(directory, f"cohorts.{name}", text, new, meant)


def _schedule_path(directory: str, name: str) -> str:
    return os.path.join(directory, "schedules", f"{name}.toml")


def add_model(
    directory: str, name: str, model: ModelConfig, around: AbstractContextManager[object] = _ALONE
) -> Decision:
    """Declare a model: add a table at the end of the file.

    The file is replaced within `around`, when nothing but the disk can keep it from that, under the
    directory's lock. Raises InvalidModelName, ModelExists and as above.
    """
    check_model_name(name)
    with locked(directory):
        text = read_text(directory)
        if name in parse_decision(text, os.path.join(directory, FILE_NAME)).models:
            raise ModelExists(directory, name)
        table = model_lines(name, model)
        values = toml_text.parse("\n".join(table))["models"][name]
        old = _table(text, directory)
        meant = old | {"models": old.get("models", {}) | {name: values}}
        new = with_table(text, table)
        return _replace(directory, f"models.{name}", text, new, meant, around)


def remove_model(directory: str, name: str) -> Decision:
    """Remove a model's table; its code stays. Raises ModelNotFound and as above."""
    with locked(directory):
        text = read_text(directory)
        known = tuple(parse_decision(text, os.path.join(directory, FILE_NAME)).models)
        if name not in known:
            raise ModelNotFound(directory, name, known)
        old = _table(text, directory)
        meant = old | {"models": {key: old["models"][key] for key in known if key != name}}
        new = without_table(text, "models", name)
        return _replace(directory, f"models.{name}", text, new, meant)


def _table(text: str, directory: str) -> Table:
    """Return the plain values of the present file; an invalid file is not edited."""
    parse_decision(text, os.path.join(directory, FILE_NAME))
    return toml_text.parse(text)


def _replace(
    directory: str,
    key: str,
    old: str,
    new: str | None,
    meant: Table,
    around: AbstractContextManager[object] = _ALONE,
) -> Decision:
    """Replace the text `old` of the file if the new one has the intended values, and no others."""
    path = os.path.join(directory, FILE_NAME)
    try:
        is_meant = new is not None and _full(toml_text.parse(new)) == _full(meant)
    except toml_text.NotToml:
        is_meant = False
    if new is None or not is_meant:
        raise EditRefused(path, key, "it is written in a way that rdv does not edit")
    try:
        parse_decision(new, path)
    except InvalidDecision as error:
        raise InvalidDecision("command", error.key, error.reason, error.suggestion) from None
    note_edit(directory, path, key, old, new)
    with around:
        write_text(path, new)
    return load_decision(directory, {})


def note_edit(directory: str, path: str, what: str, old: str, new: str) -> None:
    """Record which command replaces the text of a file, before it does; empty: there is none.

    The directory's lock must be held.
    """
    if old == new:
        return
    before, after = (text_hash(text) if text else "" for text in (old, new))
    did = "removes" if not new else "adds" if not old else "edits"
    message = f"{command_line()} {did} {what} in {os.path.relpath(path, directory)}"
    event = Event(kind="file_edited", message=message, about=path, before=before, after=after)
    record_command(directory, event)


def note_change(directory: str, event: Event) -> None:
    """Record what this command has done, besides its edits of files. Raises nothing."""
    with contextlib.suppress(RdvError), locked(directory):
        record_command(directory, event)


def _full(table: Table) -> Table:
    """Return the values without an empty [models] or [cohorts], which equals none."""
    named = ("models", "cohorts")
    return {key: value for key, value in table.items() if not (key in named and value == {})}


def write_text(path: str, text: str) -> None:
    """Replace a file by rename; its mode and a link to it stay. Raises SystemFaults."""
    path = os.path.realpath(path)
    with faults(path, "write"):
        replace_file(path, text.encode(), os.stat(path).st_mode & 0o777, durable=True)


def replace_file(path: str, data: bytes, mode: int = 0o600, *, durable: bool = False) -> None:
    """Put a whole file in place by rename: a reader sees the old or the new one. Raises OSError."""
    fd, scratch = tempfile.mkstemp(prefix=".rdv-", dir=os.path.dirname(path))
    try:
        with open(fd, "wb") as file:
            os.fchmod(fd, mode)
            file.write(data)
            file.flush()
            if durable:
                os.fsync(fd)
        os.rename(scratch, path)
    except BaseException:
        with contextlib.suppress(OSError):  # the first error is reported, not this one
            os.unlink(scratch)
        raise


@contextlib.contextmanager
def locked(directory: str) -> Iterator[None]:
    """Hold the directory's lock, which ends with its holder. Raises DecisionBusy."""
    read_text(directory)  # reports a missing decision, before the lock would
    disk = Disk()
    with faults(directory, "open"):
        fd = disk.open_directory(directory)
    try:
        lock = FileLock(disk, fd)
        if not lock.acquire(BUSY_TIMEOUT_MS / 1000):
            raise DecisionBusy(directory, BUSY_TIMEOUT_MS)
        try:
            yield
        finally:
            lock.release()
    finally:
        disk.close(fd)


def with_schedule(text: str, name: str) -> str | None:
    """Return `text` with the root key `schedule` set to `name`; None if that cannot be done. Pure.

    The value is replaced where it stands; else the line that shows the default is activated; else a
    line is added at the top.
    """
    import tomlkit
    from tomlkit.exceptions import TOMLKitError

    try:
        document = tomlkit.parse(text)
        if "schedule" in document:
            if "\n" in document["schedule"].as_string():
                return None
            document["schedule"] = name
            return document.as_string()
    except (TOMLKitError, RecursionError):
        return None
    line = f"schedule = {toml_value(name)}"
    header = _HEADER.search(text)
    shown = _SHOWN_DEFAULT.search(text, 0, header.start() if header else len(text))
    if shown:
        return f"{text[: shown.start()]}{line}{text[shown.end() :]}"
    return f"{line}\n{text}"


def with_table(text: str, table: list[str]) -> str:
    """Return `text` with one more table at its end. Pure."""
    ending = "\r\n" if "\r\n" in text else "\n"
    text = _without_blank_end(text)
    if text and not text.endswith("\n"):
        text += ending
    return text + ending.join(["", *table, ""] if text else [*table, ""])


def with_share(text: str, name: str, share: float) -> str | None:
    """Return `text` with another share of a cohort; None if that cannot be done. Pure."""
    import tomlkit
    from tomlkit.exceptions import TOMLKitError

    try:
        document: Any = tomlkit.parse(text)
        document["cohorts"][name]["share"] = share
        return str(document.as_string())
    except (TOMLKitError, RecursionError, KeyError, TypeError):
        return None


def without_table(text: str, section: str, name: str) -> str | None:
    """Return `text` without the table [SECTION.NAME]; None if that cannot be done. Pure.

    Comments behind its last key belong to the next table, and stay.
    """
    import tomlkit
    from tomlkit.exceptions import TOMLKitError
    from tomlkit.items import Item, Whitespace

    try:
        document = tomlkit.parse(text)
        table: Any = document[section][name]
        body = table.value.body
        last = max(index for index, (key, _) in enumerate(body) if key is not None)
        # tomlkit marks where the table begins and ends; all other text stays as it is.
        assert isinstance(table, Item)
        table.trivia.indent = _MARK + table.trivia.indent
        body.insert(last + 1, (None, Whitespace(_MARK)))
        parts = document.as_string().split(_MARK)
    except (TOMLKitError, RecursionError, AttributeError):
        return None
    if len(parts) != 3 or "".join(parts) != text:  # noqa: PLR2004
        return None
    before, _, after = parts
    if not after.split("\n", 1)[0].strip():
        before = _without_blank_end(before)
    return _without_blank_end(before + after)


def _without_blank_end(text: str) -> str:
    """Return `text` without the blank lines at its end."""
    content = text.rstrip()
    end = text.find("\n", len(content)) + 1
    return text[:end] if content and end else content
