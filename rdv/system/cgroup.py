"""Groups of processes that share a limit of memory and of processor time: cgroups(7) of Linux.

Both versions are used: of version 1 a directory for each controller, of version 2 one directory. A
group is made below the one that this process is in. In version 2 a group that has groups with
controllers below it must have no processes itself; so this process and those that it has started
move into a group of their own, SUPERVISOR, when the first group is made. Processes and groups of
other programs are never touched.

For one thread.
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal, NamedTuple, Protocol

from rdv.system.processes import is_process, parents

PREFIX = "rdv-"
"""All groups of rdv begin with it and with the number of the process that has made them."""
SUPERVISOR = "rdv-supervisor"
PERIOD_US = 20_000
"""Processor time is counted out in periods of this length: a process that has used up its part
waits for the next one, which may cost a request this time. A part is at least 1 ms.
"""
CPUS_MIN = 1_000 / PERIOD_US
MOVES_MAX = 10
"""A process may start another one while it is moved."""

Controller = Literal["memory", "cpu"]
CONTROLLERS: tuple[Controller, ...] = ("memory", "cpu")


class Limits(NamedTuple):
    """The limits of a group; 0 stands for none."""

    memory_bytes: int = 0
    cpus: float = 0.0

    @property
    def controllers(self) -> list[Controller]:
        """Return the controllers that hold these limits."""
        found: list[Controller] = ["memory"] if self.memory_bytes else []
        return [*found, "cpu"] if self.cpus else found


class NoGroups(Exception):
    """No group can be made here; the text says why, and what to do."""


class Files(Protocol):
    """The file system of the groups."""

    def read(self, path: str) -> str: ...
    def write(self, path: str, text: str) -> None:
        """Write to a file that exists."""

    def names(self, path: str) -> list[str]: ...
    def make(self, path: str) -> None: ...
    def remove(self, path: str) -> None: ...


class KernelFiles:
    """The file system of the groups, as the kernel shows it. All methods raise OSError."""

    def read(self, path: str) -> str:
        with open(path, encoding="utf-8", errors="surrogateescape") as file:
            return file.read()

    def write(self, path: str, text: str) -> None:
        fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.write(fd, text.encode())
        finally:
            os.close(fd)

    def names(self, path: str) -> list[str]:
        return os.listdir(path)

    def make(self, path: str) -> None:
        os.mkdir(path, 0o755)

    def remove(self, path: str) -> None:
        os.rmdir(path)


class Place(NamedTuple):
    """Where groups for a controller are made: the group that this process is in."""

    version: Literal[1, 2]
    path: str


def places(groups: str, mounts: str) -> dict[Controller, Place]:
    """Return the place for each controller that version 1 has, and those of version 2.

    The texts are those of /proc/self/cgroup and /proc/self/mountinfo. Whether version 2 has a
    controller is in its group, so both controllers that version 1 lacks lead there. Pure.
    """
    found: dict[Controller, Place] = {}
    other: Place | None = None
    for line in groups.splitlines():
        number, _, rest = line.partition(":")
        names, _, path = rest.partition(":")
        for name in CONTROLLERS:
            if name in names.split(",") and (place := _mounted(mounts, "cgroup", name, path)):
                found[name] = Place(1, place)
        if number == "0" and not names and (place := _mounted(mounts, "cgroup2", "", path)):
            other = Place(2, place)
    for name in CONTROLLERS:
        if other is not None and name not in found:
            found[name] = other
    return found


def _mounted(mounts: str, kind: str, controller: str, path: str) -> str:
    """Return where a group is mounted; empty if it is not. See proc(5), mountinfo."""
    for line in mounts.splitlines():
        before, _, after = line.partition(" - ")
        words, about = before.split(), after.split()
        if len(words) < 5 or len(about) < 3 or about[0] != kind:  # noqa: PLR2004
            continue
        if controller and controller not in about[2].split(","):
            continue
        root, point = (_unescaped(word).rstrip("/") for word in words[3:5])
        if path == root or path.startswith(f"{root}/"):
            return (point + path[len(root) :]).rstrip("/") or "/"
    return ""


def _unescaped(word: str) -> str:
    for code, character in ((r"\040", " "), (r"\011", "\t"), (r"\012", "\n"), (r"\134", "\\")):
        word = word.replace(code, character)
    return word


@dataclass
class Group:
    """A group of one process and all that it starts; of version 1 it has two directories."""

    paths: list[str] = field(default_factory=list)


class Groups:
    """Makes groups and removes them. What a process that was killed has left is removed as well."""

    def __init__(
        self,
        files: Files | None = None,
        proc: str = "/proc/self",
        parents: Callable[[], Mapping[int, int]] = parents,
    ) -> None:
        """`parents` returns the parent of each process."""
        self._files = files or KernelFiles()
        self._proc = proc
        self._parents = parents
        self._homes: dict[Controller, Place] | None = None
        self._ready: set[str] = set()
        self._ending: list[str] = []

    def make(self, name: str, limits: Limits) -> Group:
        """Make a group with these limits. Raises NoGroups; then nothing has been made."""
        group = Group()
        try:
            homes = {controller: self._home(controller) for controller in limits.controllers}
            for controller, home in homes.items():
                path = f"{home.path}/{PREFIX}{os.getpid()}-{name}"
                if path not in group.paths:
                    self._files.make(path)
                    group.paths.append(path)
                self._set(path, home.version, controller, limits)
        except OSError as error:
            self.remove(group)
            where = error.filename or "the groups"
            raise NoGroups(f"{where}: {(error.strerror or str(error)).lower()}") from None
        except NoGroups:
            self.remove(group)
            raise
        return group

    def ended_for_memory(self, group: Group) -> bool:
        """Return whether the kernel has ended a process of the group, which needed too much."""
        for path in group.paths:
            for name in ("memory.events", "memory.oom_control"):
                with contextlib.suppress(OSError):
                    words = self._files.read(f"{path}/{name}").split()
                    if int(dict(zip(words[::2], words[1::2], strict=False)).get("oom_kill", 0)):
                        return True
        return False

    def remove(self, group: Group) -> None:
        """Remove a group whose processes have ended, now or in a later call of `sweep`."""
        self._ending += group.paths
        self.sweep()

    def sweep(self) -> None:
        """Remove the groups that still had processes when `remove` was called."""
        self._ending = [path for path in self._ending if not self._removed(path)]

    def _removed(self, path: str) -> bool:
        try:
            self._files.remove(path)
        except OSError as error:
            return error.errno != errno.EBUSY
        return True

    def _home(self, controller: Controller) -> Place:
        """Return where groups with this controller can be made. Raises NoGroups, OSError."""
        if self._homes is None:
            try:
                texts = [self._files.read(f"{self._proc}/{name}") for name in _OF_PROC]
            except OSError:
                raise NoGroups("this system has no cgroups") from None
            self._homes = places(*texts)
        home = self._homes.get(controller)
        if home is None:
            raise NoGroups("no cgroups are mounted here")
        if home.version == 2:  # noqa: PLR2004
            home = home._replace(path=home.path.removesuffix(f"/{SUPERVISOR}"))
            self._enable(home.path, controller)
        if home.path not in self._ready:
            self._ready.add(home.path)
            self._remove_left(home.path)
        return home

    def _remove_left(self, home: str) -> None:
        """Remove the groups of processes that have ended without removing them."""
        for name in self._files.names(home):
            pid = name.removeprefix(PREFIX).partition("-")[0]
            # This process has none yet: one with its number was another's, as in a container.
            is_left = pid.isdecimal() and (int(pid) == os.getpid() or not is_process(int(pid)))
            if name.startswith(PREFIX) and is_left:
                self._removed(f"{home}/{name}")

    def _enable(self, home: str, controller: Controller) -> None:
        """Let groups below `home` have the controller (version 2). Raises NoGroups, OSError."""
        if controller not in self._files.read(f"{home}/cgroup.controllers").split():
            raise NoGroups(f"{home} has no controller {controller}: {_ADVICE}")
        switch = f"{home}/cgroup.subtree_control"
        if controller in self._files.read(switch).split():
            return
        try:
            self._files.write(switch, f"+{controller}")
        except OSError as error:
            if error.errno != errno.EBUSY:
                raise
        else:
            return
        self._move_out(home, switch, controller)

    def _move_out(self, home: str, switch: str, controller: Controller) -> None:
        """Move this process, and those that it has started, out of `home`, and enable again."""
        own = f"{home}/{SUPERVISOR}"
        with _passing(errno.EEXIST):
            self._files.make(own)
        try:
            for _ in range(MOVES_MAX):
                self._move(self._own_processes(home), own)
                with _passing(errno.EBUSY):
                    self._files.write(switch, f"+{controller}")
                    return
            text = f"the processes of {home} cannot be moved: they keep starting others"
            raise NoGroups(text)  # noqa: TRY301 - what was moved is moved back in any case
        except BaseException:
            with contextlib.suppress(OSError):
                self._move(self._processes(own), home)
            with contextlib.suppress(OSError):
                self._files.remove(own)
            raise

    def _own_processes(self, home: str) -> list[int]:
        """Return the processes of a group. Raises NoGroups if another program has some in it."""
        pids = self._processes(home)
        if others := set(pids).difference(_descendants(os.getpid(), self._parents())):
            raise NoGroups(f"{home} has other processes, as {min(others)}: {_ADVICE}")
        return pids

    def _processes(self, path: str) -> list[int]:
        return [int(word) for word in self._files.read(f"{path}/cgroup.procs").split()]

    def _move(self, pids: Iterable[int], path: str) -> None:
        for pid in pids:
            with _passing(errno.ESRCH):  # it has ended meanwhile
                self._files.write(f"{path}/cgroup.procs", str(pid))

    def _set(self, path: str, version: int, controller: Controller, limits: Limits) -> None:
        quota = max(1_000, int(limits.cpus * PERIOD_US))
        if version == 1 and controller == "cpu":
            self._files.write(f"{path}/cpu.cfs_period_us", str(PERIOD_US))
            self._files.write(f"{path}/cpu.cfs_quota_us", str(quota))
        elif controller == "cpu":
            self._files.write(f"{path}/cpu.max", f"{quota} {PERIOD_US}")
        elif version == 1:
            self._files.write(f"{path}/memory.limit_in_bytes", str(limits.memory_bytes))
            with _passing(errno.ENOENT, errno.EACCES, errno.EOPNOTSUPP):  # swap is not counted here
                self._files.write(f"{path}/memory.memsw.limit_in_bytes", str(limits.memory_bytes))
        else:
            self._files.write(f"{path}/memory.max", str(limits.memory_bytes))
            with _passing(errno.ENOENT, errno.EACCES):
                self._files.write(f"{path}/memory.swap.max", "0")


_OF_PROC = ("cgroup", "mountinfo")
_ADVICE = "start it by `systemd-run --scope -p Delegate=yes` (with --user, if you are not root)"


def join(paths: Iterable[str]) -> None:
    """Move this process into a group, by the paths of its `Group`. Raises OSError."""
    for path in paths:
        KernelFiles().write(f"{path}/cgroup.procs", "0")


@contextlib.contextmanager
def _passing(*numbers: int) -> Iterator[None]:
    """Pass over these errors."""
    try:
        yield
    except OSError as error:
        if error.errno not in numbers:
            raise


def _descendants(pid: int, parents: Mapping[int, int]) -> Iterator[int]:
    """Yield the process, and those that it has started, and those that these have."""
    children: dict[int, list[int]] = {}
    for child, parent in parents.items():
        children.setdefault(parent, []).append(child)
    waiting = [pid]
    while waiting:
        yield (one := waiting.pop())
        waiting += children.get(one, [])
