"""Which member of a group reads which partition. Pure.

Balanced and sticky: as even as the subscriptions allow, and no partition moves that need not.
The same inputs give the same answer in every process.
"""

from __future__ import annotations

from collections.abc import Mapping

from rdv.stream.record import TopicPartition

Subscriptions = Mapping[str, frozenset[str] | None]
"""Member → topics it wants; None means all topics."""


def assign(
    members: Subscriptions,
    partitions: Mapping[str, int],
    current: Mapping[TopicPartition, str],
) -> dict[TopicPartition, str]:
    """Give each partition of each topic in `partitions` to one member that wants the topic.

    `current` is who has it now. Partitions that nobody wants are left out.
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
    """Move partitions, one at a time and from the fullest, while that makes it more even."""
    held: dict[str, dict[str, list[TopicPartition]]] = {member: {} for member in load}
    for place in sorted(owners, reverse=True):
        held[owners[place]].setdefault(place.topic, []).append(place)
    while (move := _next_move(held, load, wanted_by)) is not None:
        giver, topic, receiver = move
        place = held[giver][topic].pop()
        owners[place] = receiver
        held[receiver].setdefault(topic, []).append(place)
        load[giver] -= 1
        load[receiver] += 1


def _next_move(
    held: Mapping[str, Mapping[str, list[TopicPartition]]],
    load: Mapping[str, int],
    wanted_by: Mapping[str, list[str]],
) -> tuple[str, str, str] | None:
    for giver in sorted(load, key=lambda member: (-load[member], member)):
        for topic, places in held[giver].items():
            receiver = _lightest(wanted_by[topic], load)
            if places and load[giver] - load[receiver] >= 2:  # noqa: PLR2004  less gains nothing
                return giver, topic, receiver
    return None
