"""The schedules of a decision's directory: read, checked, and watched for edits."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable
from dataclasses import dataclass, field

from rdv.config import Decision
from rdv.errors import RdvError
from rdv.schedule import SLA_MS_MAX, InvalidSchedule, Schedule, schedule_from_toml

log = logging.getLogger("rdv.schedules")

SUFFIX = ".toml"

STEP_MS, DEBOUNCE_MS = 100, 200
"""The watching thread wakes up every step, which costs the hot path its interpreter lock."""

AGAIN_S, STOP_S = 1.0, 2.0


@dataclass(frozen=True)
class Schedules:
    """What may be used now. `faults` are files that do not validate; they change nothing."""

    by_name: dict[str, Schedule] = field(default_factory=dict)
    faults: tuple[RdvError, ...] = ()


def schedules_directory(directory: str) -> str:
    return os.path.join(directory, "schedules")


def read_schedules(directory: str, before: Schedules | None = None) -> Schedules:
    """Read `DIR/schedules/*.toml`. A file with a fault keeps the version of `before`, if any.

    A file that is gone is gone. Raises nothing: faults are in the answer.
    """
    folder = schedules_directory(directory)
    found: dict[str, Schedule] = {}
    faults: list[RdvError] = []
    try:
        names = sorted(os.listdir(folder))
    except OSError as error:
        return Schedules({}, (InvalidSchedule(folder, "", error.strerror or str(error)),))
    for name in names:
        stem, suffix = os.path.splitext(name)
        if suffix != SUFFIX or stem.startswith("."):
            continue
        path = os.path.join(folder, name)
        try:
            with open(path, encoding="utf-8") as file:
                found[stem] = schedule_from_toml(file.read(), stem, path)
        except (OSError, UnicodeDecodeError) as error:
            faults.append(InvalidSchedule(path, "", str(error)))
        except InvalidSchedule as error:
            faults.append(error)
        if stem not in found and before is not None and stem in before.by_name:
            found[stem] = before.by_name[stem]
    return Schedules(found, tuple(faults))


def longest_wait_ms(decision: Decision, schedules: Schedules | None = None) -> float:
    """How long a request of this decision may be open: the longest SLA of its schedules, and of
    the inline ones that its proxies accept. `schedules`: read anew unless given.
    """
    found = (schedules or read_schedules(decision.directory)).by_name
    longest_ms = max((schedule.sla_ms for schedule in found.values()), default=0.0)
    live = found.get(decision.schedule)
    inline_ms = 0.0 if live is None else decision.http.inline_sla_max_ms(live.sla_ms)
    return max(longest_ms, min(inline_ms, SLA_MS_MAX))


class DirectoryWatch:
    """Tells, from a thread of its own, that something in a decision's directory was edited.

    Watches rdv.toml and the schedules (and, with `models`, the models' files); folders may come
    later. A watch that fails is begun again.
    """

    def __init__(
        self, directory: str, changed: Callable[[set[str]], None], *, models: bool = False
    ) -> None:
        self._directory = directory
        self._changed = changed
        self._folders = ["schedules", "models"] if models else ["schedules"]
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="rdv-watch", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def _paths(self) -> list[str]:
        folders = [os.path.join(self._directory, name) for name in self._folders]
        return [self._directory, *(path for path in folders if os.path.isdir(path))]

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                self._watch(self._paths())
            except (OSError, RuntimeError) as error:  # no directory, or no watches left
                log.warning("edits are not noticed: %s", error)
            self._stop.wait(AGAIN_S)

    def _watch(self, paths: list[str]) -> None:
        from watchfiles import watch

        for changes in watch(
            *paths,
            stop_event=self._stop,
            recursive=False,
            debounce=DEBOUNCE_MS,
            step=STEP_MS,
            raise_interrupt=False,
            ignore_permission_denied=True,
        ):
            self._changed({path for _, path in changes})
            if self._paths() != paths:
                return

    def stop(self) -> None:
        """Ends the thread: a library's thread must not run on while the interpreter ends."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(STOP_S)
