"""The state of a consumer group changes by pure transitions: state and event in, state out.

A partition has at most one owner. When a rebalance assigns it to another member, a living owner
keeps it until it releases it (`release`), so that two members never work on it at once; a dead or
hanging owner is evicted first. `since` is the generation in which the owner got the partition: a
commit that carries an older one comes from an evicted member and is refused.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec

from rdv.stream.group.assignment import assign
from rdv.stream.record import TopicPartition


class Ownership(msgspec.Struct, frozen=True):
    """An `Ownership` says who reads a partition, since which generation, and who gets it next."""

    topic: str
    partition: int
    owner: str
    since: int
    target: str
    is_new: bool = False
    """The partition appeared while the group was at work: its owner reads it from its beginning."""

    @property
    def place(self) -> TopicPartition:
        return TopicPartition(self.topic, self.partition)


class GroupState(msgspec.Struct, frozen=True):
    """A `GroupState` is all that a group's members agree on.

    `members` maps a member to its topics (None: all).
    """

    generation: int = 0
    members: dict[str, frozenset[str] | None] = {}
    ownerships: tuple[Ownership, ...] = ()
    seen: dict[str, int] = {}
    """Topics that the group has read, and how many partitions they had."""

    def held_by(self, member: str) -> dict[TopicPartition, Ownership]:
        """Return the partitions that a member owns, including those that it must release."""
        return {o.place: o for o in self.ownerships if o.owner == member}

    def owner_of(self, place: TopicPartition) -> Ownership | None:
        for ownership in self.ownerships:
            if ownership.topic == place.topic and ownership.partition == place.partition:
                return ownership
        return None


def join(
    state: GroupState,
    member: str,
    topics: frozenset[str] | None,
    partitions: Mapping[str, int],
) -> GroupState:
    """Add a member, or a member that comes back, and rebalance the group."""
    members = {**state.members, member: topics}
    return settle(msgspec.structs.replace(state, members=members), partitions)


def remove(state: GroupState, members: Iterable[str], partitions: Mapping[str, int]) -> GroupState:
    """Remove members that leave, are dead or hang; others get their partitions at once."""
    gone = set(members)
    if not gone & set(state.members):
        return state
    left = {name: topics for name, topics in state.members.items() if name not in gone}
    return settle(msgspec.structs.replace(state, members=left), partitions)


def release(state: GroupState, member: str, places: Iterable[TopicPartition]) -> GroupState:
    """Release a member's partitions that are meant for other members."""
    letting_go = set(places)
    generation = state.generation + 1
    ownerships = tuple(
        msgspec.structs.replace(o, owner=o.target, since=generation)
        if o.place in letting_go and o.owner == member != o.target
        else o
        for o in state.ownerships
    )
    return _next(state, ownerships)


def settle(state: GroupState, partitions: Mapping[str, int]) -> GroupState:
    """Update the assignment to the members and the existing partitions."""
    before = {o.place: o for o in state.ownerships}
    known = {place: o for place, o in before.items() if o.owner in state.members}
    targets = assign(
        state.members,
        partitions,
        {place: o.target if o.target in state.members else o.owner for place, o in known.items()},
    )
    generation = state.generation + 1
    ownerships = []
    for place, target in targets.items():
        held = known.get(place)
        if held is not None and _wants(state, held.owner, place.topic):
            ownerships.append(msgspec.structs.replace(held, target=target))
        else:
            was = before.get(place)
            is_new = was.is_new if was is not None else _is_new(state, place, target)
            ownerships.append(Ownership(*place, target, generation, target, is_new))
    seen = {**state.seen}
    for place in targets:
        seen[place.topic] = max(seen.get(place.topic, 0), place.partition + 1)
    return _next(msgspec.structs.replace(state, seen=seen), tuple(ownerships))


def _is_new(state: GroupState, place: TopicPartition, member: str) -> bool:
    """Return whether a partition is new, so that it is read from its beginning.

    It is if it was added to a topic of the group or, for a member that reads all topics, if its
    topic was made after the group had begun. A topic that a member asks for by name for the first
    time is not new: it is read from the member's start.
    """
    if place.topic in state.seen:
        return place.partition >= state.seen[place.topic]
    return bool(state.seen) and state.members[member] is None


def _wants(state: GroupState, member: str, topic: str) -> bool:
    topics = state.members[member]
    return topics is None or topic in topics


def _next(state: GroupState, ownerships: tuple[Ownership, ...]) -> GroupState:
    return msgspec.structs.replace(state, generation=state.generation + 1, ownerships=ownerships)
