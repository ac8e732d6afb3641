"""Check group transitions in any order: one owner, growing generations, nothing taken away."""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from rdv.stream.group.state import GroupState, join, release, remove, settle

NAMES = [f"m{n}" for n in range(5)]
TOPICS = ["a", "b"]
SUBSCRIPTION = st.none() | st.frozensets(st.sampled_from(TOPICS), min_size=1)


class GroupMachine(RuleBasedStateMachine):
    @initialize(counts=st.fixed_dictionaries({t: st.integers(0, 4) for t in TOPICS}))
    def begin(self, counts):
        self.partitions = counts
        self.state = GroupState()
        self.freed = set()

    def step(self, after, may_change=frozenset()):
        """Apply a change. Places in `may_change` are released, or their owner is gone."""
        before, self.state = self.state, after
        assert after.generation > before.generation or after == before
        owners = {o.place: o for o in before.ownerships}
        for new in after.ownerships:
            old = owners.get(new.place)
            if old is None or old.owner != new.owner:
                assert old is None or new.place in may_change
                assert before.generation < new.since
            else:
                assert new.since == old.since

    @rule(name=st.sampled_from(NAMES), topics=SUBSCRIPTION)
    def join(self, name, topics):
        if name not in self.state.members:
            self.step(join(self.state, name, topics, self.partitions))

    @rule(gone=st.sets(st.sampled_from(NAMES)))
    def remove(self, gone):
        orphans = {o.place for o in self.state.ownerships if o.owner in gone}
        self.step(remove(self.state, gone, self.partitions), orphans)
        assert not gone & set(self.state.members)

    @rule(name=st.sampled_from(NAMES), data=st.data())
    def release(self, name, data):
        every = [o.place for o in self.state.ownerships]
        places = data.draw(st.sets(st.sampled_from(every)) if every else st.just(set()))
        may = {p for p in self.state.held_by(name) if p in places}
        targets = {o.place: o.target for o in self.state.ownerships}
        self.step(release(self.state, name, places), may)
        owners = {o.place: o.owner for o in self.state.ownerships}
        assert all(owners[place] == targets[place] for place in may)

    @rule()
    def settle(self):
        before = self.state.ownerships
        self.step(settle(self.state, self.partitions))
        assert {o.place: o.target for o in before}.items() <= {
            o.place: o.target for o in self.state.ownerships
        }.items()

    @rule(topic=st.sampled_from(TOPICS))
    def grow(self, topic):
        self.partitions = {**self.partitions, topic: self.partitions[topic] + 1}
        self.step(settle(self.state, self.partitions))

    @invariant()
    def each_partition_has_one_living_owner_that_wants_it(self):
        state = self.state
        places = [o.place for o in state.ownerships]
        assert len(places) == len(set(places))
        for held in state.ownerships:
            assert held.since <= state.generation
            assert state.owner_of(held.place) is held
            for name in (held.owner, held.target):
                topics = state.members[name]
                assert topics is None or held.topic in topics

    @invariant()
    def everybody_gets_what_is_meant_for_him_once_all_let_go(self):
        state = self.state
        wanted = {
            (topic, n)
            for topic, count in self.partitions.items()
            for n in range(count)
            if any(topics is None or topic in topics for topics in state.members.values())
        }
        if state.generation:
            assert {o.place for o in state.ownerships} == wanted
        targets = {o.place: o.target for o in state.ownerships}
        for name in list(state.members):
            state = release(state, name, [p for p, o in state.held_by(name).items()])
        assert {o.place: o.owner for o in state.ownerships} == targets


TestGroupMachine = GroupMachine.TestCase
TestGroupMachine.settings = settings(
    max_examples=60, stateful_step_count=25, derandomize=True, deadline=None, database=None
)


def test_a_change_leaves_the_state_that_it_was_given_alone():
    one = join(GroupState(), "a", None, {"t": 2})
    copy = (one.generation, dict(one.members), one.ownerships)
    join(one, "b", None, {"t": 2})
    remove(one, ["a"], {"t": 2})
    release(one, "a", [o.place for o in one.ownerships])
    assert (one.generation, one.members, one.ownerships) == copy
    assert GroupState().members == {}


def test_removing_no_member_changes_nothing():
    state = join(GroupState(), "a", None, {"t": 2})
    assert remove(state, ["stranger"], {"t": 2}) is state
