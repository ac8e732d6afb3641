"""Check that an assignment is complete, balanced, sticky, and the same everywhere."""

from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from rdv.stream.group.assignment import assign
from rdv.stream.record import TopicPartition

ci = settings(derandomize=True, deadline=None, database=None)

NAMES = st.sampled_from([f"m{n}" for n in range(6)])
TOPICS = ["a", "b", "c"]
PARTITIONS = st.dictionaries(st.sampled_from(TOPICS), st.integers(0, 7))
SUBSCRIPTIONS = st.dictionaries(
    NAMES, st.none() | st.frozensets(st.sampled_from([*TOPICS, "x"])), max_size=6
)
EVERYWHERE = st.dictionaries(
    st.tuples(st.sampled_from([*TOPICS, "gone"]), st.integers(0, 9)).map(
        lambda t: TopicPartition(*t)
    ),
    st.sampled_from([f"m{n}" for n in range(8)]),
)


def places(partitions):
    return {TopicPartition(t, n) for t, count in partitions.items() for n in range(count)}


def wants(topics, topic):
    return topics is None or topic in topics


def fewest_moves(members, partitions, current):
    """Return how many partitions must move for equal subscriptions: those above the fair shares."""
    held = Counter(o for p, o in current.items() if p in places(partitions) and o in members)
    fair, extra = divmod(len(places(partitions)), len(members))
    loads = sorted((held[m] for m in members), reverse=True)
    return sum(max(0, load - fair - (rank < extra)) for rank, load in enumerate(loads))


@ci
@given(SUBSCRIPTIONS, PARTITIONS, EVERYWHERE)
def test_every_wanted_partition_has_one_owner_that_wants_it(members, partitions, current):
    owners = assign(members, partitions, current)
    wanted = {p for p in places(partitions) if any(wants(t, p.topic) for t in members.values())}
    assert set(owners) == wanted
    assert all(wants(members[owner], place.topic) for place, owner in owners.items())


@ci
@given(st.sets(NAMES, min_size=1), PARTITIONS, EVERYWHERE)
def test_equal_members_have_equal_loads_and_no_partition_moves_in_vain(names, partitions, current):
    members = dict.fromkeys(names)
    owners = assign(members, partitions, current)
    loads = Counter(dict.fromkeys(names, 0)) + Counter(owners.values())
    counts = [loads[name] for name in names]
    assert max(counts) - min(counts) <= 1
    moved = [p for p, o in owners.items() if current.get(p) in names and current[p] != o]
    assert len(moved) == fewest_moves(names, partitions, current)


@ci
@given(SUBSCRIPTIONS, PARTITIONS, EVERYWHERE)
def test_no_single_move_would_make_it_more_even(members, partitions, current):
    owners = assign(members, partitions, current)
    loads = Counter(owners.values())
    for place, owner in owners.items():
        for name, topics in members.items():
            assert not wants(topics, place.topic) or loads[owner] - loads[name] <= 1


@ci
@given(SUBSCRIPTIONS, PARTITIONS, EVERYWHERE, st.randoms())
def test_the_order_of_the_arguments_does_not_matter(members, partitions, current, random):
    def shuffled(mapping):
        items = list(mapping.items())
        random.shuffle(items)
        return dict(items)

    expected = assign(members, partitions, current)
    assert assign(shuffled(members), shuffled(partitions), shuffled(current)) == expected


@ci
@given(SUBSCRIPTIONS, PARTITIONS, EVERYWHERE)
def test_what_has_been_settled_stays(members, partitions, current):
    owners = assign(members, partitions, current)
    assert assign(members, partitions, owners) == owners


@ci
@given(st.sets(NAMES, min_size=1), NAMES, PARTITIONS)
def test_a_joining_member_gets_its_fair_share_and_no_other_changes(names, new, partitions):
    before = assign(dict.fromkeys(names - {new}), partitions, {})
    after = assign(dict.fromkeys(names | {new}), partitions, before)
    moved = {p for p in before if before[p] != after[p]}
    assert {after[p] for p in moved} <= {new}
    if before:
        assert len(moved) == len(places(partitions)) // len(names | {new})


@ci
@given(st.sets(NAMES, min_size=2), PARTITIONS, st.data())
def test_when_one_leaves_only_its_partitions_move(names, partitions, data):
    before = assign(dict.fromkeys(names), partitions, {})
    gone = data.draw(st.sampled_from(sorted(names)))
    after = assign(dict.fromkeys(names - {gone}), partitions, before)
    assert {p for p in before if before[p] != after[p]} == {p for p in before if before[p] == gone}


@ci
@given(st.sets(NAMES, min_size=1), st.integers(1, 6), st.integers(1, 6))
def test_partitions_that_are_added_move_no_others_of_a_balanced_group(names, count, more):
    before = assign(dict.fromkeys(names), {"a": count}, {})
    after = assign(dict.fromkeys(names), {"a": count + more}, before)
    assert all(after[place] == owner for place, owner in before.items())


def test_it_is_as_even_as_the_subscriptions_allow_also_through_a_third_member():
    members = {"a": frozenset({"x"}), "b": frozenset({"x", "y"}), "c": frozenset({"y"})}
    current = {TopicPartition("x", n): "a" for n in range(3)}
    current |= {TopicPartition("x", 3): "b", TopicPartition("y", 0): "b"}
    current |= {TopicPartition("y", 1): "c"}
    loads = Counter(assign(members, {"x": 4, "y": 2}, current).values())
    assert loads == {"a": 2, "b": 2, "c": 2}
