"""A `Member` sends heartbeats, watches the other members, and takes and releases partitions."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from rdv.clock import Clock
from rdv.stream.backend import GroupStore, Lease
from rdv.stream.group.state import GroupState, Ownership, join, release, remove, settle
from rdv.stream.record import TopicPartition


@dataclass(frozen=True)
class GroupTiming:
    """A `GroupTiming` sets how fast a group notices that a member hangs.

    A killed member is noticed at the next heartbeat of any other.
    """

    session_timeout_ms: int = 10_000
    """The time in milliseconds without a poll, a commit or a `heartbeat()` after which a member
    counts as hanging and loses its partitions."""

    heartbeat_ms: int = 500
    """How often a member sends a heartbeat and checks the other members, in milliseconds."""


class Member:
    """A `Member` acts for one consumer. One thread at a time; the store locks between processes."""

    def __init__(
        self,
        store: GroupStore,
        topics: frozenset[str] | None,
        partitions: Callable[[], Mapping[str, int]],
        new_name: Callable[[], str],
        clock: Clock,
        timing: GroupTiming,
    ) -> None:
        self.store = store
        self.name = ""
        self.held: dict[TopicPartition, Ownership] = {}
        self._topics = topics
        self._partitions = partitions
        self._new_name = new_name
        self._clock = clock
        self._timing = timing
        self._lease: Lease | None = None
        self._beat_ns = 0

    @property
    def generation(self) -> int:
        """Return the group's generation, as the store has it now."""
        return self.store.load().generation

    def next_beat_s(self) -> float:
        """Return the seconds until the next heartbeat is due."""
        due = self._beat_ns + self._timing.heartbeat_ms * 1_000_000
        return max(0.0, (due - self._clock.monotonic_ns()) / 1e9)

    def tick(self, *, changed: bool) -> bool:
        """Send a heartbeat and check the group if due, or `changed`; True if `held` changed."""
        now_ns = self._clock.monotonic_ns()
        is_due = now_ns - self._beat_ns >= self._timing.heartbeat_ms * 1_000_000
        if not (is_due or changed or self._lease is None):
            return False
        if self._lease is not None:
            self._lease.beat(now_ns)
        self._beat_ns = now_ns
        state = self.store.load()
        if self._lease is None or self.name not in state.members:
            state = self._join(now_ns)
        elif is_due or changed:
            state = self._look_after(state, now_ns)
        before, self.held = self.held, state.held_by(self.name)
        return before != self.held

    def _join(self, now_ns: int) -> GroupState:
        """Join, or rejoin under a new name after other members have evicted this one."""
        if self._lease is not None:
            self._lease.close()
        self.name = self._new_name()
        self.held = {}
        self._lease = self.store.lease(self.name)
        self._lease.beat(now_ns)
        return self.store.update(
            lambda state: join(
                self._without_absent(state, now_ns), self.name, self._topics, self._wanted(state)
            )
        )

    def _look_after(self, state: GroupState, now_ns: int) -> GroupState:
        """Evict members that are dead or hang; notice new topics and partitions."""
        others = [name for name in state.members if name != self.name]
        absent = self.store.absent(others, now_ns, self._timeout_ns)
        wanted = self._wanted(state)
        known = {(o.topic, o.partition) for o in state.ownerships}
        is_complete = all((t, p) in known for t, count in wanted.items() for p in range(count))
        if not absent and is_complete:
            return state
        return self.store.update(lambda now: self._resettle(now, now_ns))

    def _resettle(self, state: GroupState, now_ns: int) -> GroupState:
        if self.name not in state.members:
            return state
        return settle(self._without_absent(state, now_ns), self._wanted(state))

    def _without_absent(self, state: GroupState, now_ns: int) -> GroupState:
        others = [name for name in state.members if name != self.name]
        absent = self.store.absent(others, now_ns, self._timeout_ns)
        return remove(state, absent, self._wanted(state))

    @property
    def _timeout_ns(self) -> int:
        return self._timing.session_timeout_ms * 1_000_000

    def _wanted(self, state: GroupState) -> dict[str, int]:
        """Return the partitions of every topic that some member wants."""
        subscriptions = [*state.members.values(), self._topics]
        everything = any(topics is None for topics in subscriptions)
        named = {topic for topics in subscriptions for topic in topics or ()}
        return {
            topic: count
            for topic, count in self._partitions().items()
            if everything or topic in named
        }

    def to_release(self) -> list[TopicPartition]:
        """Return the partitions meant for another member: finish their work, then release them."""
        return [place for place, held in self.held.items() if held.target != self.name]

    def let_go(self, places: list[TopicPartition]) -> None:
        state = self.store.update(lambda state: release(state, self.name, places))
        self.held = state.held_by(self.name)

    def commit(self, offsets: Mapping[TopicPartition, tuple[int, int]]) -> None:
        """Commit (offset, since) for each partition; `since` is the generation it was assigned in.

        Raises Fenced when another member owns one of them by now.
        """
        if self._lease is not None:
            self._lease.beat(self._clock.monotonic_ns())
        self.store.commit(self.name, offsets)

    def leave(self) -> None:
        """Leave the group and give up all partitions at once."""
        if self._lease is None:
            return
        name = self.name
        try:
            self.store.update(lambda state: remove(state, [name], self._wanted(state)))
        finally:
            self._lease.close()
            self._lease = None
            self.held = {}
