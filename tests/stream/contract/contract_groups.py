"""Check groups, as far as one process shows them: sharing, committing, fencing, leaving."""

import pytest
from contract_kit import TOPIC, read_all, values

from rdv.errors import RdvError
from rdv.stream import GroupTiming
from rdv.stream.errors import Fenced, InvalidArgument, NoGroup

TIMING = GroupTiming(session_timeout_ms=1000, heartbeat_ms=100)
MS = 1_000_000


def member(world, **options):
    return world.consumer(group="g", timing=TIMING, **options)


def settle(*consumers):
    """Poll until no partition moves any more; return what was read."""
    found = []
    for _ in range(6):
        for consumer in consumers:
            found += consumer.poll()
    return found


class Groups:
    def test_a_commit_is_the_next_offset_to_read(self, world):
        world.producer().send_many(TOPIC, [b"0", b"1", b"2"])
        with world.stream.consumer([TOPIC], group="g") as consumer:
            consumer.poll(2)
            assert world.stream.committed("g") == {}
            consumer.commit()
        assert world.stream.committed("g") == {(TOPIC, 0): 2}
        assert world.stream.lag("g") == {(TOPIC, 0): 1}
        assert world.stream.groups() == ["g"]
        assert values(read_all(member(world))) == [b"2"]

    def test_a_commit_may_name_its_offsets(self, world):
        world.producer().send_many(TOPIC, [b"x"] * 5)
        consumer = member(world)
        read_all(consumer)
        consumer.commit({consumer.assignment()[0]: 3})
        assert world.stream.committed("g") == {(TOPIC, 0): 3}

    def test_an_impossible_offset_is_refused_and_nothing_is_committed(self, world):
        world.stream.make_topic(TOPIC, 2)
        world.producer().send_many(TOPIC, [b"x"] * 3, partition=0)
        consumer = member(world)
        first, second = consumer.assignment()
        with pytest.raises(RdvError):
            consumer.commit({first: 2, second: -1})
        assert world.stream.committed("g") == {}

    def test_seeking_back_and_committing_goes_back(self, world):
        world.producer().send_many(TOPIC, [b"x"] * 5)
        consumer = member(world)
        read_all(consumer)
        consumer.commit()
        consumer.seek(TOPIC, 0, 1)
        consumer.commit()
        assert world.stream.committed("g") == {(TOPIC, 0): 1}

    def test_without_a_group_there_is_nothing_to_commit_or_show(self, world):
        consumer = world.consumer()
        for call in (consumer.commit, consumer.heartbeat, lambda: consumer.commit({})):
            with pytest.raises(NoGroup):
                call()

    def test_a_group_assigns_partitions_by_itself(self, world):
        with pytest.raises(InvalidArgument):
            world.stream.consumer([TOPIC], group="g", partitions=[0])

    def test_members_share_the_partitions_and_groups_do_not(self, world):
        world.stream.make_topic(TOPIC, 4)
        one, two = member(world), member(world, stream=world.open())
        other = world.consumer(group="other")
        settle(one, two)
        shares = [set(one.assignment()), set(two.assignment())]
        assert [len(share) for share in shares] == [2, 2]
        assert not shares[0] & shares[1]
        producer = world.producer()
        for n in range(40):
            producer.send(TOPIC, b"%d" % n)
        records = settle(one, two)
        assert sorted(values(records)) == sorted(b"%d" % n for n in range(40))
        assert len(read_all(other)) == 40

    def test_revoke_comes_before_the_new_owner_and_its_commit_counts(self, world):
        world.stream.make_topic(TOPIC, 2)
        for partition in range(2):
            world.producer().send_many(TOPIC, [b"a", b"b"], partition=partition)
        events = []

        def revoke(places):
            assert two is None or not two.assignment()
            one.commit()
            events.append(("revoke", places))

        two = None
        one = member(world, on_revoke=revoke)
        assert len(read_all(one)) == 4
        two = member(world, on_assign=lambda places: events.append(("assign", places)))
        assert two.poll() == []
        settle(one, two)
        assert [kind for kind, _ in events] == ["revoke", "assign"]
        assert events[0][1] == events[1][1] == two.assignment()
        assert settle(one, two) == []

    def test_a_failing_revoke_keeps_the_partitions(self, world):
        world.stream.make_topic(TOPIC, 2)
        fail = [True]

        def revoke(places):
            if fail[0]:
                raise RuntimeError("not now")

        one = member(world, on_revoke=revoke)
        two = member(world)
        with pytest.raises(RuntimeError):
            one.poll()
        assert two.poll() == []
        assert two.assignment() == []
        fail[0] = False
        settle(one, two)
        assert len(one.assignment()) == len(two.assignment()) == 1

    def test_a_leaving_member_is_replaced_from_the_committed_offset(self, world):
        world.producer().send_many(TOPIC, [b"0", b"1", b"2", b"3"])
        one = member(world)
        one.poll(2)
        one.commit()
        one.poll(1)
        two = member(world)
        assert two.poll() == []
        one.close()
        assert values(settle(two)) == [b"2", b"3"]

    def test_a_hanging_member_is_evicted_fenced_and_rejoins(self, world):
        world.clock.monotonic = 0
        world.producer().send_many(TOPIC, [b"0", b"1", b"2", b"3"])
        zombie = member(world)
        assert len(zombie.poll(2)) == 2
        other = member(world)
        world.clock.monotonic = 1001 * MS
        assert values(settle(other)) == [b"0", b"1", b"2", b"3"]
        other.commit()
        with pytest.raises(Fenced) as caught:
            zombie.commit()
        assert (caught.value.group, caught.value.topic, caught.value.partition) == ("g", TOPIC, 0)
        assert world.stream.committed("g") == {(TOPIC, 0): 4}
        assert zombie.poll() == []
        assert zombie.assignment() == []
        assert zombie.member_id in world.stream.group_state("g").members

    @pytest.mark.parametrize("is_alone_again", [False, True])
    def test_a_heartbeat_does_not_give_a_zombie_its_commits_back(self, world, is_alone_again):
        world.clock.monotonic = 0
        world.producer().send_many(TOPIC, [b"0", b"1", b"2", b"3"])
        zombie = member(world)
        assert len(zombie.poll(1)) == 1
        other = member(world)
        world.clock.monotonic = 1001 * MS
        assert len(settle(other)) == 4
        other.commit()
        if is_alone_again:
            other.close()
        zombie.heartbeat()
        with pytest.raises(Fenced):
            zombie.commit()
        assert world.stream.committed("g") == {(TOPIC, 0): 4}

    @pytest.mark.parametrize("sign", ["poll", "heartbeat", "commit"])
    def test_every_sign_of_life_keeps_a_member(self, world, sign):
        world.clock.monotonic = 0
        world.producer().send_many(TOPIC, [b"x"] * 20)
        one = member(world)
        one.poll(1)
        name = one.member_id
        for n in range(1, 8):
            world.clock.monotonic = n * 400 * MS
            place = one.assignment()[0]
            signs = {"poll": (1,), "heartbeat": (), "commit": ({place: n},)}
            getattr(one, sign)(*signs[sign])
        member(world)
        assert name in world.stream.group_state("g").members

    def test_a_latest_group_misses_nothing_after_its_first_assignment(self, world):
        producer = world.producer()
        world.stream.make_topic(TOPIC, 2)
        producer.send(TOPIC, b"before", partition=0)
        one = member(world, start="latest")
        for partition in range(2):
            producer.send(TOPIC, b"%d" % partition, partition=partition)
        one.close()
        two, three = member(world, start="latest"), member(world, start="latest")
        assert sorted(values(settle(two, three))) == [b"0", b"1"]

    @pytest.mark.parametrize("start", ["earliest", "latest"])
    def test_new_partitions_and_topics_reach_the_group_from_their_first_record(self, world, start):
        producer = world.producer()
        one = member(world, start=start)
        everything = world.consumer(None, group="all", timing=TIMING, start=start)
        world.stream.make_topic(TOPIC, 3)
        for partition in range(3):
            producer.send(TOPIC, b"%d" % partition, partition=partition)
        producer.send("new", b"new")
        assert sorted(values(settle(one))) == [b"0", b"1", b"2"]
        assert sorted(values(settle(everything))) == [b"0", b"1", b"2", b"new"]

    def test_setting_a_commit_by_hand_does_not_detach_members_that_are_open(self, world):
        world.producer().send_many(TOPIC, [b"x"] * 4)
        consumer = member(world)
        consumer.poll(1)
        consumer.commit()
        operator = world.open()
        operator.set_committed("g", TOPIC, 0, None)
        assert operator.committed("g") == {}
        consumer.poll(1)
        consumer.commit()
        assert operator.committed("g") == {(TOPIC, 0): 2}

    def test_asking_about_a_group_does_not_make_it(self, world):
        assert world.stream.committed("nobody") == world.stream.lag("nobody") == {}
        assert world.stream.groups() == []
