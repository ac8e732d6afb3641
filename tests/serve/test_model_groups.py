"""Check the cgroups of models: where they are made, what they hold, and what is said without."""

from __future__ import annotations

import errno
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from running import write_decision
from waiting import wait_until

from rdv.decision import InvalidDecision
from rdv.decision.convert import make_decision
from rdv.serve.process import OUT_OF_MEMORY
from rdv.serve.supervisor.groups import ModelGroups
from rdv.serve.supervisor.plan import Part
from rdv.system.cgroup import (
    PREFIX,
    SUPERVISOR,
    Group,
    Groups,
    KernelFiles,
    Limits,
    NoGroups,
    Place,
    places,
)

TWO = "0::/user.slice/fraud.service\n"
ONE = "9:name=systemd:/x\n4:memory:/m/a b\n3:cpu,cpuacct:/c\n0::/\n"
MOUNT_TWO = "30 20 0:25 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n"
MOUNTS_ONE = (
    "31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw\n"
    "32 31 0:29 /c /cg/cpu,cpuacct rw shared:9 - cgroup cgroup rw,cpu,cpuacct\n"
    "35 31 0:32 / /cg/mem\\040ory rw - cgroup cgroup rw,memory\n"
    "41 31 0:38 / /cg/unified rw - cgroup2 cgroup2 rw\n"
)
HOME = "/sys/fs/cgroup/user.slice/fraud.service"
BOTH = Limits(memory_bytes=2**30, cpus=0.5)
MODEL = """
import os
def predict(rows):
    with open("/proc/self/cgroup") as file:
        return [[file.read(), os.nice(0)]] * len(rows)
"""


class Kernel:
    """A tree of groups of version 2, or directories of version 1, that behaves as the kernel's."""

    def __init__(self, texts: tuple[str, str], homes: dict[str, str], version: int = 2) -> None:
        self.files = {"/proc/self/cgroup": texts[0], "/proc/self/mountinfo": texts[1]}
        self.version = version
        self.inside: dict[str, list[int]] = {}
        self.refused: dict[str, int] = {}
        for path, controllers in homes.items():
            self._add(path, controllers)

    def _add(self, path: str, controllers: str) -> None:
        self.inside[path] = []
        names = ["memory.max", "memory.swap.max"] if "memory" in controllers else []
        names += ["cpu.max"] if "cpu" in controllers else []
        if self.version == 1:
            names = ["memory.limit_in_bytes", "cpu.cfs_period_us", "cpu.cfs_quota_us"]
        self.files |= {f"{path}/{name}": "" for name in names}
        self.files[f"{path}/cgroup.controllers"] = controllers
        self.files[f"{path}/cgroup.subtree_control"] = ""

    def _refuse(self, path: str) -> None:
        if number := self.refused.get(path):
            raise OSError(number, os.strerror(number), path)

    def read(self, path: str) -> str:
        self._refuse(path)
        home, _, name = path.rpartition("/")
        if name == "cgroup.procs":
            return "\n".join(map(str, self.inside[home]))
        if path not in self.files:
            raise FileNotFoundError(errno.ENOENT, "No such file or directory", path)
        return self.files[path]

    def write(self, path: str, text: str) -> None:
        self._refuse(path)
        home, _, name = path.rpartition("/")
        if name == "cgroup.procs":
            for pids in self.inside.values():
                if int(text) in pids:
                    pids.remove(int(text))
            self.inside[home].append(int(text))
        elif name == "cgroup.subtree_control":
            if self.inside[home]:
                raise OSError(errno.EBUSY, "Device or resource busy", path)
            self.files[path] = f"{self.files[path]} {text.removeprefix('+')}".strip()
        elif path in self.files:
            self.files[path] = text
        else:
            raise FileNotFoundError(errno.ENOENT, "No such file or directory", path)

    def names(self, path: str) -> list[str]:
        at = len(path) + 1
        return [one[at:] for one in self.inside if one.startswith(f"{path}/")]

    def make(self, path: str) -> None:
        self._refuse(path.rpartition("/")[0])
        if path in self.inside:
            raise FileExistsError(errno.EEXIST, "File exists", path)
        home = path.rpartition("/")[0]
        self._add(path, self.files[f"{home}/cgroup.subtree_control"])

    def remove(self, path: str) -> None:
        if self.inside[path]:
            raise OSError(errno.EBUSY, "Device or resource busy", path)
        del self.inside[path]

    def groups(self, parents: dict[int, int] | None = None) -> Groups:
        return Groups(self, parents=lambda: parents or {})


@pytest.fixture
def kernel() -> Kernel:
    return Kernel((TWO, MOUNT_TWO), {HOME: "cpuset cpu io memory pids"})


def test_the_places_of_each_version_are_found():
    two = Place(2, HOME)
    assert places(TWO, MOUNT_TWO) == {"memory": two, "cpu": two}
    both = {"memory": Place(1, "/cg/mem ory/m/a b"), "cpu": Place(1, "/cg/cpu,cpuacct")}
    assert places(ONE, MOUNTS_ONE) == both
    mixed = places("3:cpu:/c\n0::/\n", MOUNTS_ONE)
    assert mixed == {"cpu": Place(1, "/cg/cpu,cpuacct"), "memory": Place(2, "/cg/unified")}
    assert places("", MOUNT_TWO) == places(TWO, "") == {}
    # A container without a namespace of its own: its group is not below what is mounted there.
    assert places("0::/docker/abc\n", "30 2 0:1 /docker/xyz /sys/fs/cgroup ro - cgroup2 c rw") == {}


def test_a_group_of_version_2_gets_both_limits_and_goes_when_it_is_empty(kernel):
    groups = kernel.groups()
    group = groups.make("1-gbm-0", BOTH)
    (path,) = group.paths
    assert path == f"{HOME}/{PREFIX}{os.getpid()}-1-gbm-0"
    found = {name: kernel.files[f"{path}/{name}"] for name in ("memory.max", "cpu.max")}
    assert found == {"memory.max": str(2**30), "cpu.max": "10000 20000"}
    assert kernel.files[f"{path}/memory.swap.max"] == "0"
    kernel.inside[path] = [17]
    groups.remove(group)
    assert path in kernel.inside
    kernel.inside[path] = []
    groups.sweep()
    assert list(kernel.inside) == [HOME]


def test_version_1_has_a_directory_for_each_controller():
    homes = {"/cg/mem ory/m/a b": "", "/cg/cpu,cpuacct": ""}
    kernel = Kernel((ONE, MOUNTS_ONE), homes, version=1)
    group = kernel.groups().make("1-gbm-0", BOTH)
    memory, cpu = group.paths
    assert kernel.files[f"{memory}/memory.limit_in_bytes"] == str(2**30)
    assert kernel.files[f"{cpu}/cpu.cfs_quota_us"] == "10000"
    assert kernel.files[f"{cpu}/cpu.cfs_period_us"] == "20000"


def test_the_supervisor_and_its_processes_move_out_of_the_way(kernel):
    own = os.getpid()
    kernel.inside[HOME] = [own, 70, 71]
    groups = kernel.groups({own: 1, 70: own, 71: 70})
    (path,) = groups.make("1-gbm-0", BOTH).paths
    assert kernel.inside == {HOME: [], f"{HOME}/{SUPERVISOR}": [own, 70, 71], path: []}
    # One that is started again in the same process is in that group by now.
    kernel.files["/proc/self/cgroup"] = f"0::/user.slice/fraud.service/{SUPERVISOR}\n"
    (again,) = kernel.groups().make("2-gbm-0", BOTH).paths
    assert os.path.dirname(again) == HOME


def test_other_processes_are_never_moved(kernel):
    own = os.getpid()
    kernel.inside[HOME] = [own, 70]
    with pytest.raises(NoGroups, match=r"other processes, as 70: start it by `systemd-run"):
        kernel.groups({own: 1, 70: 1}).make("1-gbm-0", BOTH)
    assert kernel.inside == {HOME: [own, 70]}


@pytest.mark.parametrize("name", ["cgroup.subtree_control", "cgroup.procs"])
def test_what_cannot_be_finished_is_undone(kernel, name):
    own = os.getpid()
    kernel.inside[HOME] = [own]
    at = HOME if name == "cgroup.subtree_control" else f"{HOME}/{SUPERVISOR}"
    kernel.refused[f"{at}/{name}"] = errno.EACCES
    with pytest.raises(NoGroups, match=rf"{name}: permission denied"):
        kernel.groups({own: 1}).make("1-gbm-0", BOTH)
    assert kernel.inside == {HOME: [own]}


def test_what_is_missing_is_said(kernel):
    with pytest.raises(NoGroups, match="has no controller cpu: start it by"):
        Kernel((TWO, MOUNT_TWO), {HOME: "pids"}).groups().make("1", Limits(cpus=1))
    with pytest.raises(NoGroups, match="no cgroups are mounted here"):
        Kernel((TWO, ""), {HOME: ""}).groups().make("1", BOTH)
    with pytest.raises(NoGroups, match="this system has no cgroups"):
        Groups(proc="/nonexistent").make("1", BOTH)
    kernel.refused[HOME] = errno.EROFS
    with pytest.raises(NoGroups, match=rf"{HOME}: read-only file system"):
        kernel.groups().make("1", BOTH)


def test_groups_of_a_process_that_was_killed_are_removed(kernel):
    kernel.files[f"{HOME}/cgroup.subtree_control"] = "cpu memory"
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    left, used = f"{HOME}/{PREFIX}{process.pid}-1-a", f"{HOME}/{PREFIX}{process.pid}-2-b"
    lives = f"{HOME}/{PREFIX}{os.getppid()}-1-a"
    for path in (left, used, lives, f"{HOME}/{PREFIX}other"):
        kernel.make(path)
    kernel.inside[used] = [99]
    kernel.groups().make("1-gbm-0", BOTH)
    assert left not in kernel.inside
    assert {used, lives, f"{HOME}/{PREFIX}other"} < kernel.inside.keys()


def part(limits: Limits) -> Part:
    return Part("gbm-0", "worker", ("worker", "/fraud", "gbm"), "gbm", limits=limits)


def test_it_is_said_once_for_each_model_what_holds_instead(kernel):
    kernel.refused[HOME] = errno.EROFS
    said: list[tuple[str, str, str]] = []
    groups = ModelGroups(lambda *words: said.append(words), kernel.groups())
    for _ in range(2):
        assert groups.make(part(BOTH)) is None
        assert groups.make(part(Limits())) is None
        assert groups.ended(None, 3) == 3
    text = (
        "gbm: memory_max holds for each of its processes by itself, and cpu_max is only a "
        f"lower priority, nice 10: no cgroup can be made: {HOME}: read-only file system"
    )
    assert said == [(text, "limits_without_groups", "gbm")]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("memory.events", "low 0\nhigh 0\nmax 4\noom 1\noom_kill 1\n"),
        ("memory.oom_control", "oom_kill_disable 0\nunder_oom 0\noom_kill 1\n"),
    ],
)
def test_a_worker_that_the_kernel_has_ended_for_its_memory_says_so(kernel, name, text):
    groups = ModelGroups(lambda *_: None, kernel.groups())
    one, other = groups.make(part(BOTH)), groups.make(part(BOTH))
    kernel.files[f"{one.paths[0]}/{name}"] = text
    assert groups.ended(one, -signal.SIGKILL) == OUT_OF_MEMORY
    assert groups.ended(other, -signal.SIGKILL) == -signal.SIGKILL
    assert not kernel.names(HOME)


@pytest.mark.parametrize(("value", "reason"), [(0.01, "is less than"), (-1, ""), (5000, "")])
def test_a_part_of_a_processor_that_is_too_small_is_refused(value, reason):
    models = {"models": {"m": {"path": "m.py", "cpu_max": value}}}
    with pytest.raises(InvalidDecision, match=rf"cpu_max.*{reason}"):
        make_decision(models, "rdv.toml")


def real_group() -> Group | None:
    """Return a group that this machine makes, or None."""
    try:
        return Groups().make("test", BOTH)
    except NoGroups:
        return None


def test_a_served_model_is_in_its_group_or_the_log_says_why_not(tmp_path: Path):
    directory, log = tmp_path / "fraud", tmp_path / "log"
    write_decision(directory, model='memory_max = "1GiB"\ncpu_max = 0.5')
    (directory / "models" / "gbm.py").write_text(MODEL)
    with log.open("wb") as stderr:
        command = [sys.executable, "-m", "rdv", "serve", str(directory)]
        process = subprocess.Popen(command, stderr=stderr)
    try:
        wait_until(lambda: "gbm-0 is ready" in log.read_text(), log.read_text, 0.05)
        found = re.search(r"gbm-0 is ready \(process (\d+)\)", log.read_text())
        assert found
        pid = int(found[1])
        groups = [
            place
            for texts in [[Path(f"/proc/{pid}/{name}") for name in ("cgroup", "mountinfo")]]
            if all(one.exists() for one in texts)
            for place in places(*(one.read_text() for one in texts)).values()
        ]
        own = [one for one in groups if os.path.basename(one.path).startswith(PREFIX)]
        if "no cgroup can be made" in log.read_text():
            assert not own
            assert os.getpriority(os.PRIO_PROCESS, pid) >= 10
            return
        files = KernelFiles()
        assert own == groups != []
        for one in own:
            assert str(pid) in files.read(f"{one.path}/cgroup.procs").split()
    finally:
        process.terminate()
        process.wait(60)
    wait_until(lambda: not any(os.path.exists(one.path) for one in own), str(own))
