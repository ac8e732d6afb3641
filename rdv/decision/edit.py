"""Makes small edits of an `rdv.toml` that preserve its comments and its formatting.

An edit is checked twice before it replaces the file by rename: the new text must be a valid
decision, and must differ from the old one in the intended key and nowhere else. Otherwise nothing
is changed. Edits of several processes are serialized (flock on the directory).

Edits TOML text by whole lines, so that all other lines stay as they were written. Pure.

These functions work on lines, not on grammar; a text that misleads them (a header inside a
multi-line string) is caught by `rdv.decision.edit`, which parses the result.
"""

from __future__ import annotations

import contextlib
import os
import re
import tempfile
import tomllib
from collections.abc import Iterator
from typing import Any

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
from rdv.decision.load import load_decision, parse_decision, read_text, schedule_names
from rdv.decision.model import ModelConfig
from rdv.decision.text import model_lines, toml_value
from rdv.stream.file.disk import Disk, faults
from rdv.stream.file.lock import FileLock

BUSY_TIMEOUT_MS = 5_000

Table = dict[str, Any]


def set_live_schedule(directory: str, name: str) -> Decision:
    """Make another schedule the live one. Returns the new decision.

    The schedule must exist, but is not validated here. Raises ScheduleNotFound, EditRefused,
    DecisionBusy, InvalidDecision, SystemFaults.
    """
    known = schedule_names(directory)
    if name not in known:
        raise ScheduleNotFound(directory, name, known)
    with _alone(directory):
        text = read_text(directory)
        meant = _table(text, directory) | {"schedule": name}
        new = with_schedule(text, toml_value(name))
        return _replace(directory, "schedule", new, meant)


def replace_schedule(directory: str, name: str, old: str, new: str) -> None:
    """Replace a schedule file's text `old` by `new`, if the file still contains `old`.

    The text is not validated here. Raises ScheduleNotFound, EditRefused when the file has been
    edited meanwhile, DecisionBusy, SystemFaults.
    """
    known = schedule_names(directory)
    if name not in known:
        raise ScheduleNotFound(directory, name, known)
    path = os.path.join(directory, "schedules", f"{name}.toml")
    with _alone(directory):
        with faults(path, "read"), open(path, encoding="utf-8", newline="") as file:
            found = file.read()
        if found != old:
            raise EditRefused(path, name, "it has been edited meanwhile")
        write_text(path, new)


def add_model(directory: str, name: str, model: ModelConfig) -> Decision:
    """Declare a model: add a table at the end of the file.

    Raises InvalidModelName, ModelExists and as above.
    """
    check_model_name(name)
    with _alone(directory):
        text = read_text(directory)
        if name in parse_decision(text, os.path.join(directory, FILE_NAME)).models:
            raise ModelExists(directory, name)
        table = model_lines(name, model)
        values = tomllib.loads("\n".join(table))["models"][name]
        old = _table(text, directory)
        meant = old | {"models": old.get("models", {}) | {name: values}}
        return _replace(directory, f"models.{name}", with_table(text, table), meant)


def remove_model(directory: str, name: str) -> Decision:
    """Remove a model's table; its code stays. Raises ModelNotFound and as above."""
    with _alone(directory):
        text = read_text(directory)
        known = tuple(parse_decision(text, os.path.join(directory, FILE_NAME)).models)
        if name not in known:
            raise ModelNotFound(directory, name, known)
        old = _table(text, directory)
        meant = old | {"models": {key: old["models"][key] for key in known if key != name}}
        new = without_table(text, ("models", name))
        return _replace(directory, f"models.{name}", new, meant)


def _table(text: str, directory: str) -> Table:
    """Return the plain values of the present file; an invalid file is not edited."""
    parse_decision(text, os.path.join(directory, FILE_NAME))
    return tomllib.loads(text)


def _replace(directory: str, key: str, new: str, meant: Table) -> Decision:
    """Replace the file if the new text has the intended values."""
    path = os.path.join(directory, FILE_NAME)
    try:
        got: Table | None = tomllib.loads(new)
    except tomllib.TOMLDecodeError:
        got = None
    if got is None or not _same(got, meant):
        raise EditRefused(path, key, "it is written in a way that only a person should edit")
    try:
        parse_decision(new, path)
    except InvalidDecision as error:
        raise InvalidDecision("command", error.key, error.reason, error.suggestion) from None
    write_text(path, new)
    return load_decision(directory, {})


def _same(got: Table, meant: Table) -> bool:
    """Compare, where no [models] equals an empty one."""
    return _full(got) == _full(meant)


def _full(table: Table) -> Table:
    return {key: value for key, value in table.items() if not (key == "models" and value == {})}


def write_text(path: str, text: str) -> None:
    """Replace a file by rename, so that a reader sees the old or the new one. Keeps its mode."""
    path = os.path.realpath(path)
    with faults(path, "write"):
        fd, temporary = tempfile.mkstemp(prefix=".rdv-", dir=os.path.dirname(path))
        try:
            with open(fd, "w", encoding="utf-8", newline="") as file:
                file.write(text)
                file.flush()
                os.fchmod(fd, os.stat(path).st_mode & 0o777)
                os.fsync(fd)
            os.rename(temporary, path)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(temporary)
            raise


@contextlib.contextmanager
def _alone(directory: str) -> Iterator[None]:
    """Hold the directory's lock, which ends with its holder. Raises DecisionBusy."""
    read_text(directory)  # reports a missing decision, before the lock would
    disk = Disk()
    with faults(directory, "open"):
        fd = disk.open(directory)
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


_SCHEDULE = re.compile(
    r"""^(?P<key>\s*(?:schedule|"schedule"|'schedule')\s*=\s*)
    (?:"[^"]*"|'[^']*')(?P<rest>\s*(?:\#.*)?)$""",
    re.VERBOSE,
)
_SHOWN_DEFAULT = re.compile(r"^#\s?schedule\s*=")


def with_schedule(text: str, value: str) -> str:
    """Return `text` with the root key `schedule` set to `value`, which is TOML already.

    The value is replaced where it stands; else the line that shows the default is activated; else a
    line is added at the top.
    """
    lines = text.split("\n")
    root = next((index for index, line in enumerate(lines) if _header(line)), len(lines))
    for index, line in enumerate(lines[:root]):
        ending = "\r" if line.endswith("\r") else ""
        if match := _SCHEDULE.match(line.removesuffix("\r")):
            lines[index] = f"{match['key']}{value}{match['rest']}{ending}"
            return "\n".join(lines)
    for index, line in enumerate(lines[:root]):
        if _SHOWN_DEFAULT.match(line):
            lines[index] = f"schedule = {value}" + ("\r" if line.endswith("\r") else "")
            return "\n".join(lines)
    return "\n".join([f"schedule = {value}", *lines])


def with_table(text: str, table: list[str]) -> str:
    """Return `text` with one more table at its end."""
    return "\n".join([*text.rstrip().split("\n"), "", *table]).lstrip("\n") + "\n"


def without_table(text: str, path: tuple[str, ...]) -> str:
    """Return `text` without the table [path]; comments before the next table stay with that one."""
    lines = text.split("\n")
    start = next((index for index, line in enumerate(lines) if _header(line) == path), None)
    if start is None:
        return text
    after = range(start + 1, len(lines))
    end = next((index for index in after if _header(lines[index])), len(lines))
    while end > start + 1 and _is_blank(lines[end - 1]):
        end -= 1
    kept_before = lines[:start]
    while (
        kept_before
        and not kept_before[-1].strip()
        and (end == len(lines) or not lines[end].strip())
    ):
        kept_before.pop()
    return "\n".join(kept_before + lines[end:]).rstrip("\n") + "\n"


def _is_blank(line: str) -> bool:
    return not line.strip() or line.lstrip().startswith("#")


def _header(line: str) -> tuple[str, ...]:
    """Return the path of a `[a.b]` line; empty for any other line."""
    if not line.lstrip().startswith("["):
        return ()
    try:
        table: object = tomllib.loads(line)
    except tomllib.TOMLDecodeError:
        return ()
    path = []
    while isinstance(table, dict) and len(table) == 1:
        key, table = next(iter(table.items()))
        path.append(key)
    return tuple(path)
