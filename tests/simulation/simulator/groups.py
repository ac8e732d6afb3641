"""Check what groups promise: no partition has two owners, and none is left without one."""

from __future__ import annotations

from rdv.stream.group.state import GroupState
from simulator.scheduler import DEAD, MS, Process

SESSION_MS = 1_500
HEARTBEAT_MS = 100


class Groups:
    """Watch every change of every group."""

    def __init__(self, world) -> None:
        self._world = world
        self._processes: dict[str, Process | None] = {}

    def joined(self, member: str, process: Process | None) -> None:
        self._processes[member] = process

    def changed(self, group, before: GroupState, after: GroupState) -> None:
        oracle, places = self._world.oracle, [o.place for o in after.ownerships]
        self._world.note(
            "group %s: generation %d, %s",
            group.name,
            after.generation,
            {str(o.place): o.owner for o in after.ownerships},
        )
        oracle.expect(len(places) == len(set(places)), "one owner", "%s: %s", group.name, after)
        owners = {o.place: o.owner for o in before.ownerships}
        for ownership in after.ownerships:
            was = owners.get(ownership.place, ownership.owner)
            if was != ownership.owner:
                oracle.expect(
                    self._may_lose(group, was),
                    "one owner",
                    "%s: %s was taken from %s, which lives",
                    group.name,
                    ownership.place,
                    was,
                )

    def _may_lose(self, group, member: str) -> bool:
        """Return whether the member lets go by itself, is dead, or missed its session timeout."""
        process, beat_ns = self._processes.get(member), group.beat_ns(member)
        if process is None or process.state is DEAD or process is self._world.scheduler.current:
            return True
        if beat_ns is None:
            return True
        return self._world.clock.monotonic_ns() - beat_ns > SESSION_MS * MS

    def committed(self, group, member: str, offsets) -> None:
        state = group.load()
        for place, (_, since) in offsets.items():
            held = state.owner_of(place)
            self._world.oracle.expect(
                held is not None and held.owner == member and held.since == since,
                "fenced",
                "%s committed %s, which is %s's",
                member,
                place,
                held,
            )

    def unowned(self) -> list[str]:
        """Return the partitions that no live worker reads, for each model that should run."""
        world, found = self._world, []
        backend = world.backends["input"]
        for model in world.wanted_models():
            workers = [
                p for p in world.processes
                if p.state != DEAD and "worker" in p.parts and p.parts["part"].model == model
            ]  # fmt: skip
            if not workers:
                found.append(f"{model}: no worker runs")
                continue
            held = {
                place
                for p in workers
                for place in p.parts["worker"].requests.feed.consumer.assignment()
            }
            for topic in backend.topics():
                for number in range(backend.partitions(topic)):
                    if (topic, number) not in held:
                        found.append(f"{model}: {topic}/{number}")
        return found
