"""Run a plan and return its outcome."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import hashlib
import itertools
import logging
import os as real_os
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from unittest import mock

from rdv.stream import GroupTiming
from rdv.stream.stream import LogStream
from simulator.engine import WatchedEngine
from simulator.groups import HEARTBEAT_MS, SESSION_MS
from simulator.outcome import Outcome
from simulator.plan import Plan
from simulator.scheduler import DEAD, MS, Runaway
from simulator.threads import SimThreading
from simulator.waiting import SimSelect
from simulator.world import World

SETTLE_MAX_NS = 8_000 * MS
CALM_MAX_NS = 40_000 * MS
AFTER_NS = 250 * MS
"""How long a run goes on after its last event: longer than the longest SLA of a plan."""


def play(
    plan: Plan,
    *,
    traces: bool = False,
    engine: type = WatchedEngine,
    spoil: Callable[[World], None] = lambda world: None,
) -> Outcome:
    """Run a plan. Pass `engine` or `spoil` to see it fail."""
    world = World(plan, traces=traces, engine=engine)
    spoil(world)
    _collect_rarely()
    try:
        with _in_place_of_the_machine(world):
            _run(world)
    except Runaway as error:
        world.oracle.broke("runaway", str(error))
    finally:
        world.close()
    told = sorted((a.number, a.answers) for a in world.ledger.asked.values())
    digest = hashlib.sha256(repr((told, world.scheduler.now_ns)).encode()).hexdigest()
    counts = world.oracle.counts
    return Outcome(world.oracle.broken, counts, world.trace or [], digest)


_plays = itertools.count(1)
COLLECT_EVERY = 25


def _collect_rarely() -> None:
    """Collect garbage only after every n-th run, and never in the modules that were loaded before
    the first: a world is one large heap of cycles.
    """
    gc.disable()
    number = next(_plays)
    if number == 1:
        gc.freeze()
    elif number % COLLECT_EVERY == 0:
        gc.collect()


def _run(world: World) -> None:
    scheduler, plan = world.scheduler, world.plan
    world.start()
    scheduler.run(scheduler.now_ns + SETTLE_MAX_NS, lambda: world.is_settled)
    world.oracle.expect(world.is_settled, "starts", "it never came up")
    begin_ns = scheduler.now_ns
    world.faults.arm()
    for arrival in plan.arrivals:
        scheduler.at(begin_ns + arrival.at_ns, world.ask, arrival)
    scheduler.run(begin_ns + plan.length_ns + AFTER_NS)
    world.is_calming = True
    until_ns = scheduler.now_ns + CALM_MAX_NS
    while (left := _unsettled(world)) and scheduler.now_ns < until_ns:
        scheduler.run(scheduler.now_ns + 100 * MS)
    world.oracle.expect(not left, "calm", "%s", left[:3])
    scheduler.run(scheduler.now_ns + AFTER_NS)
    world.oracle.finish()
    for process in world.processes:
        process.at_step = lambda process: None
    for process in reversed(world.processes):
        process.kill()


def _unsettled(world: World) -> list[str]:
    """Return what has still to come to an end, once there are no more faults."""
    left = world.groups.unowned()
    for name in (part.name for part in world.wanted_parts()):
        for process in world.living(name):
            if process.busy_until_ns > world.scheduler.now_ns:
                left.append(f"{name} is held up")
            proxy, worker = process.parts.get("proxy"), process.parts.get("worker")
            if proxy is not None and len(proxy.own_answers):
                left.append(f"{name}: answers are not on record")
            if worker is not None and worker.waiting_count:
                left.append(f"{name}: {worker.waiting_count} requests wait")
        if not world.living(name):
            left.append(f"{name} does not run")
    return left


@contextlib.contextmanager
def _in_place_of_the_machine(world: World) -> Iterator[None]:
    """Replace the few names through which the shells reach the machine."""
    timing = GroupTiming(session_timeout_ms=SESSION_MS, heartbeat_ms=HEARTBEAT_MS)
    loop = asyncio._get_running_loop()

    def open_control(*_: object, **__: object) -> LogStream:
        return world.backends["control"].open()

    notes = _notes(world)
    logging.disable(logging.CRITICAL)
    with (
        mock.patch("rdv.serve.outbox.threading", SimThreading(world)),
        mock.patch("rdv.serve.feeds.select", SimSelect(world.descriptors)),
        mock.patch("rdv.serve.worker.crash_record.os", notes),
        mock.patch("rdv.serve.worker.crash_record._lock", notes.lock),
        mock.patch("rdv.serve.worker.requests.TIMING", timing),
        mock.patch("rdv.serve.supervisor.control.open_stream", open_control),
        mock.patch("rdv.serve.supervisor.control.is_process", world.is_process),
    ):
        try:
            yield
        finally:
            gc.enable()
            logging.disable(logging.NOTSET)
            asyncio._set_running_loop(loop)


def _notes(world: World) -> SimpleNamespace:
    """Return what `crash_record` needs of `os`: files that outlive a process, locks that do not."""
    files = world.notes
    names: list[str] = []
    holders: dict[str, object] = {}

    def open_(path: str, flags: int, mode: int = 0) -> int:
        if path not in files and not flags:
            raise FileNotFoundError(path)
        files.setdefault(path, bytearray())
        names.append(path)
        return len(names) - 1

    def pwrite(number: int, data: bytes, position: int) -> int:
        if names[number] in files:
            files[names[number]][position : position + len(data)] = data
        return len(data)

    def lock(number: int) -> bool:
        me, holder = world.scheduler.current, holders.get(names[number])
        if holder not in (None, me) and holder.state is not DEAD:
            return False
        holders[names[number]] = me
        return True

    return SimpleNamespace(
        lock=lock,
        listdir=lambda folder: [
            real_os.path.basename(path) for path in files if real_os.path.dirname(path) == folder
        ],
        unlink=files.pop,
        fstat=lambda number: SimpleNamespace(st_nlink=int(names[number] in files)),
        open=open_,
        pwrite=pwrite,
        pread=lambda number, size, at: bytes(files.get(names[number], b"")[at : at + size]),
        close=lambda number: None,
        makedirs=lambda path, mode, exist_ok: None,
        path=real_os.path,
        O_RDWR=0,
        O_CREAT=1,
        O_CLOEXEC=0,
    )
