"""The assignment decides which member of a group reads which partition. Pure.

It is balanced and sticky: as even as the subscriptions allow, and no partition moves that need not.
The same inputs give the same answer in every process.
"""

from __future__ import annotations

from collections.abc import Mapping

from rdv.stream.record import TopicPartition

Subscriptions = Mapping[str, frozenset[str] | None]
"""A map from a member to the topics that it wants; None means all topics."""


def assign(
    members: Subscriptions,
    partitions: Mapping[str, int],
    current: Mapping[TopicPartition, str],
) -> dict[TopicPartition, str]:
    """Assign each partition of each topic in `partitions` to one member that wants the topic.

    `current` maps partitions to their present owners. Partitions that no member wants are left out.
    """
    wanted_by = {
        topic: sorted(m for m, topics in members.items() if topics is None or topic in topics)
        for topic in partitions
    }
    places = [
        TopicPartition(topic, number)
        for topic, count in sorted(partitions.items())
        for number in range(count)
        if wanted_by[topic]
    ]
    owners = {
        place: owner
        for place in places
        if (owner := current.get(place)) is not None and owner in wanted_by[place.topic]
    }
    load = dict.fromkeys(sorted(members), 0)
    for owner in owners.values():
        load[owner] += 1
    for place in places:
        if place not in owners:
            owners[place] = owner = _lightest(wanted_by[place.topic], load)
            load[owner] += 1
    _even_out(owners, load, wanted_by)
    return {place: owners[place] for place in places}


def _lightest(candidates: list[str], load: Mapping[str, int]) -> str:
    return min(candidates, key=lambda member: (load[member], member))


def _even_out(
    owners: dict[TopicPartition, str], load: dict[str, int], wanted_by: Mapping[str, list[str]]
) -> None:
    """Move partitions, one at a time and from the fullest member, while that evens out the load."""
    held: dict[str, dict[str, list[TopicPartition]]] = {member: {} for member in load}
    for place in sorted(owners, reverse=True):
        held[owners[place]].setdefault(place.topic, []).append(place)
    while chain := _next_chain(held, load, wanted_by):
        for giver, topic, receiver in reversed(chain):
            place = held[giver][topic].pop()
            owners[place] = receiver
            held[receiver].setdefault(topic, []).append(place)
            load[giver] -= 1
            load[receiver] += 1


_Move = tuple[str, str, str]
"""The giver, the topic and the receiver."""


def _next_chain(
    held: Mapping[str, Mapping[str, list[TopicPartition]]],
    load: Mapping[str, int],
    wanted_by: Mapping[str, list[str]],
) -> list[_Move]:
    """Return the shortest chain of moves from a full member to one with at least two less.

    Mostly it is a single move; with unequal subscriptions it may lead through other members, which
    pass on as many as they get.
    """
    for giver in sorted(load, key=lambda member: (-load[member], member)):
        reached: dict[str, list[_Move]] = {giver: []}
        frontier = [giver]
        while frontier:
            found = [
                (member, topic, receiver)
                for member in frontier
                for topic, places in held[member].items()
                if places
                for receiver in wanted_by[topic]
                if receiver not in reached
            ]
            frontier = []
            for move in sorted(found, key=lambda move: (load[move[2]], move[2])):
                if move[2] not in reached:
                    reached[move[2]] = [*reached[move[0]], move]
                    frontier.append(move[2])
            best = min(frontier, key=lambda member: (load[member], member), default=giver)
            if load[giver] - load[best] >= 2:  # noqa: PLR2004  less gains nothing
                return reached[best]
    return []
