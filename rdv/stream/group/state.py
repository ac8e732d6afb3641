"""The state of a consumer group and its transitions. Pure: state and event in, state out.

A partition has at most one owner. When a rebalance gives it to somebody else, a living owner keeps
it until it lets go (`release`), so that two never work on it at once; a dead or hanging one is
evicted first. `since` is the generation in which the owner got the partition: a commit that
carries an older one comes from a zombie and is refused.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec

from rdv.stream.group.assignment import assign
from rdv.stream.record import TopicPartition


class Ownership(msgspec.Struct, frozen=True):
    """Who reads a partition, since which generation, and who is to have it next."""

    topic: str
    partition: int
    owner: str
    since: int
    target: str
    is_new: bool = False
    """It appeared while the group was at work: whoever gets it reads it from its beginning."""

    @property
    def place(self) -> TopicPartition:
        return TopicPartition(self.topic, self.partition)


class GroupState(msgspec.Struct, frozen=True):
    """All that a group's members agree on. `members` maps a member to its topics (None: all)."""

    generation: int = 0
    members: dict[str, frozenset[str] | None] = {}
    ownerships: tuple[Ownership, ...] = ()
    seen: dict[str, int] = {}
    """Topics that the group has read, and how many partitions they had."""

    def held_by(self, member: str) -> dict[TopicPartition, Ownership]:
        """The partitions that a member owns, those that it is to let go included."""
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
    """A member comes (or comes back): the group is rebalanced."""
    members = {**state.members, member: topics}
    return settle(msgspec.structs.replace(state, members=members), partitions)


def remove(state: GroupState, members: Iterable[str], partitions: Mapping[str, int]) -> GroupState:
    """Members leave, are dead, or hang: what they had goes to others at once."""
    gone = set(members)
    if not gone & set(state.members):
        return state
    left = {name: topics for name, topics in state.members.items() if name not in gone}
    return settle(msgspec.structs.replace(state, members=left), partitions)


def release(state: GroupState, member: str, places: Iterable[TopicPartition]) -> GroupState:
    """An owner lets go of partitions that are meant for somebody else."""
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
    """Bring the assignment in line with the members and with the partitions that there are."""
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
    """A partition that was added to a topic of the group; or, for who reads everything, a topic
    that was made after the group had begun. A topic that somebody asks for by name for the first
    time is not: that is read from where they say.
    """
    if place.topic in state.seen:
        return place.partition >= state.seen[place.topic]
    return bool(state.seen) and state.members[member] is None


def _wants(state: GroupState, member: str, topic: str) -> bool:
    topics = state.members[member]
    return topics is None or topic in topics


def _next(state: GroupState, ownerships: tuple[Ownership, ...]) -> GroupState:
    return msgspec.structs.replace(state, generation=state.generation + 1, ownerships=ownerships)
