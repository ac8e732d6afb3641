"""Put the processes of a model into a group with the model's limits, where the system allows it."""

from __future__ import annotations

import signal

from rdv.coded import ShowLine
from rdv.serve.process import OUT_OF_MEMORY
from rdv.serve.supervisor.plan import Part
from rdv.system.cgroup import Group, Groups, NoGroups
from rdv.system.limits import FALLBACK_NICE


class ModelGroups:
    """Makes the groups, and shows once for each model why there is none. For one thread."""

    def __init__(self, show: ShowLine, groups: Groups | None = None) -> None:
        self._show = show
        self._groups = groups or Groups()
        self._shown: set[str] = set()
        self._count = 0

    def make(self, part: Part) -> Group | None:
        """Return a new group for a process of the part; None without limits, or without groups."""
        if not part.limits.controllers:
            return None
        self._count += 1
        try:
            return self._groups.make(f"{self._count}-{part.name}", part.limits)
        except NoGroups as error:
            self._explain(part, str(error))
            return None

    def _explain(self, part: Part, reason: str) -> None:
        name = part.arguments[2]
        # The reason may have the path of the group, which is another one each time.
        if name in self._shown:
            return
        self._shown.add(name)
        keys = []
        if part.limits.memory_bytes:
            keys.append("memory_max holds for each of its processes by itself")
        if part.limits.cpus:
            keys.append(f"cpu_max is only a lower priority, nice {FALLBACK_NICE}")
        text = f"{name}: {', and '.join(keys)}: no cgroup can be made: {reason}"
        self._show(text, "limits_without_groups" if part.limits.cpus else "", name)

    def ended(self, group: Group | None, exit_code: int) -> int:
        """Remove the group; return the exit code, or OUT_OF_MEMORY if its memory was the reason."""
        if group is None:
            return exit_code
        is_over = exit_code == -signal.SIGKILL and self._groups.ended_for_memory(group)
        self._groups.remove(group)
        return OUT_OF_MEMORY if is_over else exit_code

    def sweep(self) -> None:
        """Remove the groups of processes that have ended since their worker has."""
        self._groups.sweep()
