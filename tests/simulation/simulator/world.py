"""Build one world: its machines, its log, its processes and its clients."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from itertools import count, islice
from random import Random
from types import SimpleNamespace
from typing import Any

import orjson

from rdv.decision.streams import Streams
from rdv.errors import RdvError
from rdv.http import Failure
from rdv.rendezvous.schedule import Schedule, schedule_from_object
from rdv.rendezvous.topology import INPUT, RESULTS, SCORES, proxy_name
from rdv.serve.supervisor.plan import Part
from simulator.clock import Host, SimClock
from simulator.engine import WatchedEngine
from simulator.faults import Faults, SimDisk
from simulator.files import SimFileBackend
from simulator.groups import Groups
from simulator.ledger import Asked, Ledger
from simulator.log import SimBackend
from simulator.oracle import Oracle
from simulator.parts import run_proxy, run_server, run_supervisor, run_worker
from simulator.plan import EXECUTION, Arrival, Plan
from simulator.scheduler import DEAD, MS, START_NS, Process, Scheduler
from simulator.waiting import Descriptors

VISIBILITY_NS = 3 * MS
CLIENTS = 2
"""How many clients send the requests, by turns. A greedy client is another one."""
GREEDY_FIRST = 1_000_000
GREEDY_SCHEDULE = {
    "sla_ms": 90, "default": {"score": 0, "by": "default"}, "step": [{"accept": ["nobody"]}]
}  # fmt: skip


@dataclass(frozen=True)
class Files:
    """Hold the schedules of the directory, as they are now."""

    by_name: dict[str, Schedule]
    live: str


class SimHttp:
    """Represent a request as the HTTP server passes it to the proxy."""

    __slots__ = ("_world", "answer", "asked", "body", "received_ns", "token")

    def __init__(self, world: World, asked: Asked, body: bytes) -> None:
        self._world = world
        self.asked = asked
        self.body = body
        self.received_ns = world.clock.monotonic_ns()
        self.token = ""
        self.answer = None

    json_fault = None

    @property
    def client(self) -> str:
        return self.asked.client

    @property
    def connected(self) -> bool:
        return not self.asked.has_left and not self.asked.answers

    def respond(self, status: int, body: bytes = b"", **_: Any) -> None:
        if not self.asked.has_left:
            self._world.oracle.answered(self.asked, status, body)

    def fail(self, failure: Failure) -> None:
        self.respond(failure.status, failure.body())


class World:
    """Hold everything that a run consists of."""

    def __init__(self, plan: Plan, *, traces: bool, engine: type = WatchedEngine) -> None:
        self.plan = plan
        self.make_engine = engine
        self.random = Random(plan.seed ^ EXECUTION)
        self.trace: list[str] | None = [] if traces else None
        self.scheduler = Scheduler(self.random)
        self.hosts = [Host("m0", 10**9), Host("m1", 77 * 10**12, 40 * MS)]
        self.clock = SimClock(self.scheduler, self.hosts[0])
        self.descriptors = Descriptors(self.scheduler, self.wake_ns)
        self.disk = SimDisk()
        self.faults = Faults(self)
        self.ledger = Ledger(self.scheduler)
        self.groups = Groups(self)
        self.oracle = Oracle(self)
        self.leases: list[tuple[Process | None, Any]] = []
        self.specs = {spec.name: spec for spec in plan.models}
        self.notes: dict[str, bytearray] = {}
        self.processes: list[Process] = []
        self.by_pid: dict[int, Process] = {}
        self.is_settled = self.is_calming = False
        self.sent: dict[int, bytes] = {}
        self.labels: dict[str, Schedule] = {}
        self._greedy_numbers = count(GREEDY_FIRST)
        self._failed_starts = {spec.name: spec.failed_starts for spec in plan.models}
        self.files = self._read(plan.schedules)
        counts = {INPUT: plan.partitions, SCORES: plan.partitions, RESULTS: plan.partitions}
        in_files = {fault.target for fault in plan.faults if fault.kind == "move"}
        self.backends = {
            name: (SimFileBackend if name in in_files else SimBackend)(
                self, name, counts.get(name, 1)
            )
            for name in (INPUT, SCORES, RESULTS, "control", "outcomes")
        }
        self.decision = SimpleNamespace(
            log=SimpleNamespace(stream_config=lambda partitions: None),
            stream_path=lambda name: name,
        )

    def _read(self, plain: dict[str, Any]) -> Files:
        by_name = {name: schedule_from_object(one, name) for name, one in plain.items()}
        self.labels.update({schedule.label: schedule for schedule in by_name.values()})
        return Files(by_name, self.plan.live)

    # What processes need

    def step(self) -> None:
        process = self.scheduler.current
        if process is not None:
            process.step()

    def wake_ns(self) -> int:
        return 5_000 + int(self.random.random() * 60_000)

    def visibility_ns(self) -> int:
        return int(self.random.random() ** 3 * VISIBILITY_NS)

    def loses_ring(self, process: Process) -> bool:
        return self.faults.loses_ring(process)

    def slowness(self, model: str) -> float:
        return self.faults.slowness(model)

    def open_streams(self) -> Streams:
        streams = [backend.open() for backend in self.backends.values()]
        return Streams(*streams)

    def fails_to_start(self, part: Part) -> bool:
        left = self._failed_starts[part.model]
        self._failed_starts[part.model] = max(0, left - 1)
        return left > 0

    def note(self, text: str, *arguments: object) -> None:
        if self.trace is not None:
            at_ms = (self.scheduler.now_ns - START_NS) / MS
            self.trace.append(
                f"{at_ms:10.3f} {self.scheduler.current or '-'!s:14} {text % arguments}"
            )

    # Processes

    def wanted_models(self) -> list[str]:
        return [spec.name for spec in self.plan.models if spec.name not in self.faults.removed]

    def wanted_parts(self) -> list[Part]:
        plan = self.plan
        servers = [Part(f"server-{n}", "server", (str(n),)) for n in range(plan.servers)]
        workers = [
            Part(f"{name}-{n}", "worker", (), name, str(self.faults.stamps[name]))
            for name in self.wanted_models()
            for n in range(self.specs[name].instances)
        ]
        proxies = [Part(proxy_name(8100 + n), "proxy", (str(n),)) for n in range(len(plan.proxies))]
        return [*servers, *workers, *proxies]

    def start(self) -> None:
        """Start the supervisor, which starts the rest."""
        process = Process(
            self.scheduler, "supervisor", 1, self.hosts[0],
            lambda process: run_supervisor(self, process), self._ended,
        )  # fmt: skip
        self._add(process)
        process.start(0)
        self.supervisor = process

    def _add(self, process: Process) -> None:
        process.at_step = self.faults.at_step
        self.processes.append(process)
        self.by_pid[process.pid] = process

    def spawn(self, part: Part) -> Process:
        host = self.hosts[self.plan.proxies[int(part.arguments[0])] if part.role == "proxy" else 0]

        def main(process: Process) -> None:
            if part.role == "server":
                run_server(self, process, int(part.arguments[0]))
            elif part.role == "worker":
                run_worker(self, process, part)
            else:
                run_proxy(self, process)

        process = Process(
            self.scheduler, part.name, len(self.processes) + 1, host, main, self._ended
        )
        process.parts["part"] = part
        self._add(process)
        self.oracle.started(process)
        process.start(int(self.random.uniform(1, 10) * MS))
        return process

    def _ended(self, process: Process, code: int) -> None:
        self.note("%s ended: %d %s", process, code, process.error or "")
        is_ours = process.error is None or isinstance(process.error, RdvError)
        self.oracle.expect(is_ours, "crash", "%s: %r", process, process.error)
        for owner, lease in self.leases:
            if owner is process:
                lease.close()
        self.leases = [pair for pair in self.leases if pair[0] is not process]
        for backend in self.backends.values():
            backend.died(process)
        self.oracle.ended(process)
        child: Any = process.parts.get("child")
        if child is not None and self.supervisor.state != DEAD:
            child.exits(code)
            supervisor: Any = self.supervisor.parts["supervisor"]
            self.scheduler.after(
                self.random.randint(1, 2) * MS,
                self.supervisor.loop.tell, supervisor.reap, self.wake_ns(),
            )  # fmt: skip

    def close(self) -> None:
        for backend in self.backends.values():
            backend.forget()

    def living(self, name: str) -> list[Process]:
        return [p for p in self.processes if p.name == name and p.state != DEAD]

    def is_process(self, pid: int) -> bool:
        return pid in self.by_pid and self.by_pid[pid].state != DEAD

    def tell_supervisor(self, delay_ns: int) -> None:
        supervisor: Any = self.supervisor.parts["supervisor"]
        self.scheduler.after(delay_ns, self.supervisor.loop.tell, supervisor.edited, self.wake_ns())

    def edit_schedule(self, content: dict[str, Any]) -> None:
        plain = {**self.plan.schedules, self.plan.live: content}
        self.files = self._read(plain)
        for process in self.processes:
            if "reload" in process.parts and process.state != DEAD:
                self.scheduler.after(self.random.randint(1, 200) * MS, self._reload, process)

    def _reload(self, process: Process) -> None:
        reload: Any = process.parts["reload"]
        if process.state != DEAD:
            reload()

    # Clients

    def ask(self, arrival: Arrival) -> None:
        ready = [p for p in self.living(f"p-{8100 + arrival.proxy}") if "proxy" in p.parts]
        if not ready:
            self.ledger.refused_connections += 1
            return
        process = ready[0]
        data = b'{"n": %d, "x": [1.50, "\xc3\xa4"]}' % arrival.number
        body: dict[str, Any] = {"data": 0}
        for key in ("key", "schedule", "deadline_ms", "models"):
            if (value := getattr(arrival, key)) is not None:
                body[key] = value
        text = orjson.dumps(body).replace(b'"data":0', b'"data":' + data, 1)
        self.sent[arrival.number] = data
        client = f"client {arrival.number % CLIENTS}"
        asked = Asked(arrival.number, process, 0, arrival.deadline_ms, client)
        process.loop.tell(lambda: self._deliver(process, asked, text), self.wake_ns())

    def be_greedy(self, process: Process) -> list[SimHttp]:
        """Send more requests of one client than there are places, which are not answered soon."""
        found: list[SimHttp] = []
        for number in islice(self._greedy_numbers, self.plan.in_flight_max + 2):
            self.sent[number] = data = b'{"n": %d}' % number
            text = orjson.dumps({"data": 0, "schedule": GREEDY_SCHEDULE})
            asked = Asked(number, process, 0, None, "greedy")
            text = text.replace(b'"data":0', b'"data":' + data, 1)
            deliver = partial(self._deliver, process, asked, text, found)
            process.loop.tell(deliver, self.wake_ns())
        return found

    def leave(self, process: Process, requests: list[SimHttp]) -> None:
        """Disconnect the client of these requests."""
        if process.state != DEAD:
            process.loop.tell(lambda: self._left(process, requests), self.wake_ns())

    def _left(self, process: Process, requests: list[SimHttp]) -> None:
        proxy: Any = process.parts["proxy"]
        for http in requests:
            if http.connected:
                self.note("leaves %d", http.asked.number)
                http.asked.has_left = True
                proxy.gone(http)

    def _deliver(
        self, process: Process, asked: Asked, text: bytes, found: list[SimHttp] | None = None
    ) -> None:
        asked.received_ns = self.scheduler.now_ns
        may_have_place = self.oracle.may_have_place(asked)
        self.ledger.asked[asked.number] = asked
        self.note("request %d of %s", asked.number, asked.client)
        proxy: Any = process.parts["proxy"]
        http = SimHttp(self, asked, text)
        if found is not None:
            found.append(http)
        proxy.decide(http)
        self.oracle.took_place(asked, may_have_place=may_have_place)
        self.oracle.expect(
            len(proxy.in_flight) <= self.plan.in_flight_max,
            "bounds",
            "%d in flight",
            len(proxy.in_flight),
        )
