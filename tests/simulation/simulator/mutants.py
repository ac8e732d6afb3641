"""Put bugs into the product that it does not have: the simulator must see each of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from unittest import mock

import msgspec
from msgspec import structs

from rdv.http.shares import Shares
from rdv.rendezvous.engine import Engine
from rdv.rendezvous.mailbox import EarlyScores
from rdv.rendezvous.plan import Plan, PlanStore
from rdv.serve import feeds, outbox
from rdv.serve.batches import ScoreBatches
from rdv.serve.proxy.in_flight import InFlight
from rdv.serve.proxy.proxy import Proxy
from rdv.serve.server.server import Server
from rdv.serve.supervisor import supervisor
from rdv.serve.worker.reports import Reports
from rdv.stream.consumer import LogConsumer
from rdv.stream.file.reader import PartitionReader
from rdv.stream.memory.backend import MemoryGroup
from rdv.stream.record import Block, records_of
from rdv.system.disk import Disk


@dataclass(frozen=True)
class Mutant:
    """Describe a bug: `change` returns the wrong version of the owner's attribute."""

    name: str
    promise: str
    """The promise that must be seen to break; several are separated by "|"."""
    owner: Any
    attribute: str
    change: Callable[[Any], Any]

    def patch(self) -> Any:
        right = getattr(self.owner, self.attribute)
        return mock.patch.object(self.owner, self.attribute, self.change(right))


def _forgets_ticks(right):
    return lambda engine, now_ns: []


def _no_deadline(right):
    return lambda engine: None


def _reads_one_score(right):
    def read(batches, block):
        return [one if number == 0 else None for number, one in enumerate(right(batches, block))]

    return read


def _no_early_buffer(right):
    """Lose a score that comes before its request."""
    return lambda early, score, now_ns: None


def _answers_twice(right):
    return lambda in_flight, id_: in_flight._open.get(id_)


def _publishes_twice(right):
    return lambda server, results: (right(server, results), right(server, results))[0]


def _drops_a_result(right):
    return lambda server, results: right(server, results[:-1] if len(results) > 1 else results)


def _assigns_twice(right):
    """Let a member that joins take the partitions of other members."""
    from rdv.stream.group.state import settle

    def join(state, member, topics, partitions):
        members = {**state.members, member: topics}
        settled = settle(msgspec.structs.replace(state, members=members), partitions)
        taken = tuple(msgspec.structs.replace(o, owner=o.target) for o in settled.ownerships)
        return msgspec.structs.replace(settled, ownerships=taken)

    return join


def _does_not_fence(right):
    def commit(self, member, offsets):
        self._offsets.update({place: offset for place, (offset, _) in offsets.items()})

    return commit


def _skips_a_record(right):
    def poll_blocks(self, max_records, *, is_notified):
        blocks = right(self, max_records, is_notified=is_notified)
        records = records_of(blocks)
        return [Block.of([one]) for one in records[1:]] if len(records) > 2 else blocks

    return poll_blocks


def _wrong_kind(right):
    def default(self, box, reason, now_ns):
        result = right(self, box, reason, now_ns)
        return msgspec.structs.replace(result, kind="fallback")

    return default


def _wrong_model(right):
    def evaluated(self, batch, outcomes, began_ns, took_ms):
        right(self, batch, list(outcomes)[::-1], began_ns, took_ms)

    return evaluated


def _waits_for_all(right):
    return lambda box, live, dead: False


def _no_backoff(right):
    return lambda state, now_ms: (right(state, now_ms)[0], 0.0)


def _late_backstop(right):
    def take(in_flight, entry):
        late_ns = entry.backstop_ns + 30_000_000
        right(in_flight, structs.replace(entry, backstop_ns=late_ns))

    return take


def _not_bounded(right):
    return lambda in_flight, holder, size=0: True


def _share_ignored(right):
    return lambda shares, client, count=1: shares.limit - shares.taken >= count


def _waits_for_lock(right):
    def send(producer, topic, lines, partition=None, wait_ms=None):
        return right(producer, topic, lines, partition)

    return send


def _place_kept(right):
    """Keep the place of a client that has left until the request's deadline."""
    return lambda proxy, http: None


def _stops_at_damage(right):
    """Read damaged records again and again."""
    return lambda consumer, error: False


def _wrong_schedule(right):
    return lambda book, request: (book.live, None)


def _hears_no_judge(right):
    def init(plan, schedule, wait_ms_max):
        right(plan, schedule, wait_ms_max)
        plan.input_judges = frozenset()

    return init


def _does_not_look(right):
    """Let the writer go on in files that were moved away."""
    return staticmethod(lambda fd, path: True)


def _never_replaced(right):
    return lambda reader, segment: False


def _no_wakeup(right):
    """Read, then wait: no wake-up reports what was appended in between."""

    def poll_blocks(self, max_records, *, is_notified):
        blocks = self.look_blocks(max_records)
        if is_notified:
            self._waiter.drain()
        return blocks

    return poll_blocks


def _mutants() -> list[Mutant]:
    import rdv.rendezvous.engine as engine_module
    import rdv.stream.group.member as member_module

    prompt = "prompt|answered by the SLA|pure decision"
    return [
        Mutant("engine forgets ticks", f"runaway|{prompt}", Engine, "tick", _forgets_ticks),
        Mutant("server sleeps over deadlines", prompt, Engine, "next_deadline", _no_deadline),
        Mutant("engine waits for who has refused", prompt, engine_module, "cannot_be_met",
               _waits_for_all),
        Mutant("default not marked", "pure decision|marked|its own answer", Engine, "_default",
               _wrong_kind),
        Mutant("named schedules ignored", "pure decision", PlanStore, "plan_for",
               _wrong_schedule),
        Mutant("judges of the input are not heard", "pure decision", Plan, "__init__",
               _hears_no_judge),
        Mutant("server loses scores", "passed over", ScoreBatches, "read", _reads_one_score),
        Mutant("scores before their request are lost", "pure decision", EarlyScores, "keep",
               _no_early_buffer),
        Mutant("server publishes twice", "one result", Server, "_publish", _publishes_twice),
        Mutant("server drops a result", "one result", Server, "_publish", _drops_a_result),
        Mutant("proxy answers twice", "answered once|crash", InFlight, "answered", _answers_twice),
        Mutant("proxy's backstop is late", "answered by the SLA", InFlight, "take", _late_backstop),
        Mutant("proxy takes any number", "bounds", InFlight, "admits", _not_bounded),
        Mutant("one client may have every place", "shares", Shares, "admits", _share_ignored),
        Mutant("a client that has left keeps its places", "shares", Proxy, "gone", _place_kept),
        Mutant("a loop waits for a lock", "waits for no lock", outbox, "send_fitting",
               _waits_for_lock),
        Mutant("damage is not passed over", "server reads in time|passed over|one result|sees all",
               feeds, "pass_over", _stops_at_damage),
        Mutant("files that were moved are written on", "nothing is lost", Disk, "is_at",
               _does_not_look),
        Mutant("readers stay in files that were moved", "one result|server reads in time",
               PartitionReader, "_is_replaced", _never_replaced),
        Mutant("worker mixes up rows", "its own answer", Reports, "evaluated", _wrong_model),
        Mutant("group assigns twice", "one owner", member_module, "join", _assigns_twice),
        Mutant("group does not fence", "fenced", MemoryGroup, "commit", _does_not_fence),
        Mutant("consumer skips a record", "order|one result|server reads in time|sees all",
               LogConsumer, "poll_blocks", _skips_a_record),
        Mutant("consumer waits without asking to be rung", "server reads in time|passed over",
               LogConsumer, "poll_blocks", _no_wakeup),
        Mutant("supervisor without back-off", "restarts", supervisor, "ended", _no_backoff),
    ]  # fmt: skip


MUTANTS = _mutants()
