"""Inject the faults of a plan, at their time or at their step."""

from __future__ import annotations

from collections import defaultdict

from rdv.stream.record import TopicPartition
from simulator.plan import Fault
from simulator.scheduler import MS, Killed, Process

PREEMPTED_NS_MAX = 1_000_000
RING_BACKSTOP_NS = 305 * MS
WATCH_NS = 200 * MS


class SimDisk:
    """Hold which streams cannot be written now, and in which way the writes fail."""

    def __init__(self) -> None:
        self._faults: list[tuple[str, str]] = []
        self.ever: set[str] = set()

    def begin(self, kind: str, stream: str) -> None:
        self._faults.append((kind, stream))
        self.ever.add(stream)

    def end(self, kind: str, stream: str) -> None:
        self._faults.remove((kind, stream))

    def fault(self, stream: str) -> str:
        """Return the kind of fault: with "full" nothing is written, with "half" a part is written
        and the call fails, with "" there is none.
        """
        for kind, where in self._faults:
            if where in ("*", stream):
                return kind
        return ""

    def is_full(self, stream: str) -> bool:
        return bool(self._faults) and self.fault(stream) == "full"

    def had_faults(self, stream: str) -> bool:
        return bool(self.ever & {"*", stream})


class Faults:
    """Inject the faults of a plan, and know which of them are active."""

    def __init__(self, world) -> None:
        self._world = world
        self._steps: dict[str, int] = defaultdict(int)
        self._at_steps: dict[str, dict[int, Fault]] = defaultdict(dict)
        self._without_rings: list[str] = []
        self._slow_models: list[tuple[str, float]] = []
        self.removed: set[str] = set()
        self.touched: set[str] = set()
        self.stamps: dict[str, int] = defaultdict(int)
        self.has_clock_jumped = False
        self._locked_ns: dict[str, int] = {}
        self.damaged: dict[tuple[str, TopicPartition], set[int]] = {}
        """Damaged offsets by stream and partition."""

    def arm(self) -> None:
        """Start the plan's clock: schedule all of its faults from now on."""
        self._steps.clear()
        for fault in self._world.plan.faults:
            if fault.step:
                self._at_steps[fault.target][fault.step] = fault
            else:
                self._world.scheduler.after(max(0, fault.at_ns), self._happen, fault)

    def at_step(self, process: Process) -> None:
        world, name = self._world, process.name
        faults = self._at_steps.get(name)
        if faults:
            self._steps[name] += 1
            fault = faults.pop(self._steps[name], None)
            if fault is not None:
                world.note("FAULT %s", fault)
                if fault.kind == "kill":
                    raise Killed
                process.hold_up(fault.duration_ns)
        preempted = world.plan.preempted
        if preempted and world.random.random() < preempted:
            length_ns = int(world.random.expovariate(1 / 100_000)) + 1_000
            process.hold_up(min(length_ns, PREEMPTED_NS_MAX))

    def _happen(self, fault: Fault) -> None:
        self._world.note("FAULT %s", fault)
        getattr(self, "_" + fault.kind.replace(" ", "_"))(fault)

    def _later(self, fault: Fault, call, *arguments) -> None:
        self._world.scheduler.after(fault.duration_ns, call, *arguments)

    def _kill(self, fault: Fault) -> None:
        for process in self._world.living(fault.target):
            process.kill()

    def _pause(self, fault: Fault) -> None:
        for process in self._world.living(fault.target):
            process.pause(fault.duration_ns)

    def _disk_full(self, fault: Fault) -> None:
        self._world.disk.begin("full", fault.target)
        self._later(fault, self._world.disk.end, "full", fault.target)

    def _disk_half(self, fault: Fault) -> None:
        self._world.disk.begin("half", fault.target)
        self._later(fault, self._world.disk.end, "half", fault.target)

    def _damage(self, fault: Fault) -> None:
        """Simulate deleted files of a stream, or sectors written to the wrong place."""
        for place, run in self._world.backends[fault.target].damage(self._world.random):
            self._world.note("damaged %s/%s %s", fault.target, place, run)
            self.damaged.setdefault((fault.target, place), set()).update(run)

    def _move(self, fault: Fault) -> None:
        """Rename directories of a stream, and put others in their place."""
        self._world.ledger.moved.add(fault.target)
        self._world.backends[fault.target].move(fault.what)

    def was_moved(self, stream: str) -> bool:
        return stream in self._world.ledger.moved

    def _lock(self, fault: Fault) -> None:
        """Let another process hold the locks of a stream's partitions."""
        until_ns = self._world.scheduler.now_ns + fault.duration_ns
        self._locked_ns[fault.target] = max(until_ns, self.locked_until_ns(fault.target))

    def locked_until_ns(self, stream: str) -> int:
        return self._locked_ns.get(stream, 0)

    def was_locked(self, stream: str) -> bool:
        return stream in self._locked_ns

    def is_damaged(self, stream: str, place: TopicPartition, offset: int) -> bool:
        return offset in self.damaged.get((stream, place), ())

    def _lose_rings(self, fault: Fault) -> None:
        self._without_rings.append(fault.target)
        self._later(fault, self._without_rings.remove, fault.target)

    def loses_ring(self, process: Process) -> bool:
        lost = process.name in self._without_rings and self._world.random.random() < 0.7
        if lost:
            now_ns = self._world.scheduler.now_ns
            process.unrung.append((now_ns, now_ns + RING_BACKSTOP_NS))
        return lost

    def untold(self) -> None:
        """Record that no process is notified of a change: each must find it by its own check."""
        now_ns = self._world.scheduler.now_ns
        for process in self._world.processes:
            process.unrung.append((now_ns, now_ns + RING_BACKSTOP_NS))

    def _wake(self, fault: Fault) -> None:
        for process in self._world.living(fault.target):
            for number, one in self._world.descriptors.by_number.items():
                if one.owner is process:
                    self._world.descriptors.signal(number)

    def _slow(self, fault: Fault) -> None:
        entry = (fault.target, fault.what)
        self._slow_models.append(entry)
        self._later(fault, self._slow_models.remove, entry)

    def slowness(self, model: str) -> float:
        factor = 1.0
        for name, times in self._slow_models:
            if name == model:
                factor *= times
        return factor

    def _edit(self, fault: Fault) -> None:
        self._world.edit_schedule(fault.what)

    def _clock(self, fault: Fault) -> None:
        self._world.hosts[int(fault.target)].wall_offset_ns += fault.what
        self.has_clock_jumped = True

    def _greedy(self, fault: Fault) -> None:
        """Let a client send more requests than its share, and leave without its answers."""
        for process in self._world.living(fault.target):
            if "proxy" in process.parts:
                self._later(fault, self._world.leave, process, self._world.be_greedy(process))

    def _leave(self, fault: Fault) -> None:
        if len(self.removed) + 1 < len(self._world.plan.models):
            self.removed.add(fault.target)
            self.touched.add(fault.target)
            self._world.tell_supervisor(WATCH_NS // 10)
            self._later(fault, self._come_back, fault.target)

    def _come_back(self, model: str) -> None:
        self.removed.discard(model)
        self._world.tell_supervisor(WATCH_NS // 10)

    def _replace(self, fault: Fault) -> None:
        self.stamps[fault.target] += 1
        self.touched.add(fault.target)
        self._world.tell_supervisor(WATCH_NS // 10)
