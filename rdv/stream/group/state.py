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

    @property
    def place(self) -> TopicPartition:
        return TopicPartition(self.topic, self.partition)


class GroupState(msgspec.Struct, frozen=True):
    """All that a group's members agree on. `members` maps a member to its topics (None: all)."""

    generation: int = 0
    members: dict[str, frozenset[str] | None] = {}
    ownerships: tuple[Ownership, ...] = ()

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
    known = {o.place: o for o in state.ownerships if o.owner in state.members}
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
            ownerships.append(Ownership(*place, owner=target, since=generation, target=target))
    return _next(state, tuple(ownerships))


def _wants(state: GroupState, member: str, topic: str) -> bool:
    topics = state.members[member]
    return topics is None or topic in topics


def _next(state: GroupState, ownerships: tuple[Ownership, ...]) -> GroupState:
    return msgspec.structs.replace(state, generation=state.generation + 1, ownerships=ownerships)
