"""Makes small edits of an `rdv.toml` that preserve its comments and its formatting.

An edit is checked twice before it replaces the file by rename: the new text must be a valid
decision, and must differ from the old one in the intended key and nowhere else. Otherwise nothing
is changed. Edits of several processes are serialized (flock on the directory).
"""

from __future__ import annotations

import contextlib
import os
import tempfile
import tomllib
from collections.abc import Iterator
from typing import Any

from rdv.config import lines
from rdv.config.convert import check_model_name
from rdv.config.decision import FILE_NAME, Decision
from rdv.config.errors import (
    DecisionBusy,
    EditRefused,
    InvalidDecision,
    ModelExists,
    ModelNotFound,
    ScheduleNotFound,
)
from rdv.config.load import load_decision, parse_decision, read_text, schedule_names
from rdv.config.model import ModelConfig
from rdv.config.text import model_lines, toml_value
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
        new = lines.with_schedule(text, toml_value(name))
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
        return _replace(directory, f"models.{name}", lines.with_table(text, table), meant)


def remove_model(directory: str, name: str) -> Decision:
    """Remove a model's table; its code stays. Raises ModelNotFound and as above."""
    with _alone(directory):
        text = read_text(directory)
        known = tuple(parse_decision(text, os.path.join(directory, FILE_NAME)).models)
        if name not in known:
            raise ModelNotFound(directory, name, known)
        old = _table(text, directory)
        meant = old | {"models": {key: old["models"][key] for key in known if key != name}}
        new = lines.without_table(text, ("models", name))
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
