"""Run the processes: the product's own shells, started as their `main`s would start them."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from typing import Any

import orjson

from rdv.decision.events import Event
from rdv.decision.streams import Streams
from rdv.errors import RdvError
from rdv.rendezvous.backlog import Backlog
from rdv.rendezvous.limits import Limits
from rdv.rendezvous.messages import RequestIds
from rdv.rendezvous.model_selection import ModelSelection
from rdv.rendezvous.schedule.cohort import Cohorts
from rdv.rendezvous.topology import STATUS_TOPIC
from rdv.serve.proxy.intake import ScheduleChoice
from rdv.serve.proxy.proxy import Proxy, Settings
from rdv.serve.server.server import Server
from rdv.serve.supervisor.control import Control
from rdv.serve.supervisor.plan import Part
from rdv.serve.supervisor.supervisor import Supervisor
from rdv.serve.worker.crash_record import CrashRecord
from rdv.serve.worker.worker import Watchdog, Worker
from simulator.models import SimModel
from simulator.plan import Plan
from simulator.scheduler import MS, Exited, Process
from simulator.waiting import SimLoop, SimWaker

HANGS = 75
WINDOW_MS = 10_000
STATUS_NS = 1_000 * MS


class Status:
    """Replace `rdv.serve.status.StatusWriter`, without its thread."""

    def __init__(self, world, process: Process, streams: Streams, model: str = "") -> None:
        self._world = world
        self._process = process
        self._producer = streams.control.producer()
        self._model = model
        self._due_ns = 0

    def write(self) -> None:
        """Write a line, when it is due."""
        now_ns = self._world.scheduler.now_ns
        if now_ns < self._due_ns:
            return
        self._due_ns = now_ns + STATUS_NS
        line = {
            "role": "", "name": self._process.name, "pid": self._process.pid, "state": "ready",
            "time_ns": self._world.clock.wall_ns(), "model": self._model,
        }  # fmt: skip
        try:
            self._producer.send(STATUS_TOPIC, orjson.dumps(line) + b"\n")
        except RdvError:
            self._due_ns = now_ns + STATUS_NS // 10


def run_server(world, process: Process, index: int) -> None:
    plan, streams = world.plan, world.open_streams()
    waker = SimWaker(world.descriptors)
    files = world.files
    limits = Limits(open_mailboxes_max=plan.mailboxes_max)
    engine = world.make_engine(
        world, process, process.host.name, files.by_name, files.live, world.wanted_models(), limits
    )
    partitions = range(index, plan.partitions, plan.servers)
    server = Server(
        streams,
        engine,
        partitions,
        host=process.host.name,
        clock=world.clock,
        waker=waker,
        window_ms=WINDOW_MS,
    )
    engine.is_rebuilding = False
    process.parts.update(server=server, engine=engine, partitions=set(partitions))
    status = Status(world, process, streams)

    def reload() -> None:
        process.parts["edited"] = True
        waker.wake()

    process.parts["reload"] = reload
    process.parts["ready_ns"] = world.scheduler.now_ns
    world.note("ready")
    status.write()
    while True:
        is_busy = server.turn()
        if process.parts.pop("edited", False):
            engine.schedules_changed(world.files.by_name, world.files.live)
        status.write()
        if not is_busy:
            server.wait()


def run_worker(world, process: Process, part: Part) -> None:
    plan, streams = world.plan, world.open_streams()
    spec = world.specs[part.model]
    process.sleep(spec.load_ms * MS)
    if world.fails_to_start(part):
        raise Exited(1)
    waker = SimWaker(world.descriptors)
    process.parts["stop"] = waker.stop
    model = SimModel(world, process, spec)

    def hangs(batch: list) -> None:
        process.parts["worker"].report_hang(batch)
        raise Exited(HANGS)

    # `SimModel` does what its thread would do
    watchdog = Watchdog(plan.predict_timeout_ms, world.clock, hangs)
    model.watchdog = watchdog
    worker = Worker(
        streams,
        part.model,
        model,
        Backlog(spec.batch_max, spec.when_behind, batch_wait_ms=spec.batch_wait_ms),
        host=process.host.name,
        clock=world.clock,
        waker=waker,
        watchdog=watchdog,
        crash_record=CrashRecord(f"notes/{part.name}"),
    )
    process.parts["worker"] = worker
    world.oracle.watch_reading(process, worker)
    status = Status(world, process, streams, part.model)
    world.note("ready")
    status.write()
    while not waker.stopping:
        worker.turn()
        status.write()
        worker.wait()
    worker.finish()


def model_selection_of(plan: Plan) -> ModelSelection:
    """Return the models that may be left out: never one that has to see every request."""
    models = [spec for spec in plan.models if spec.when_behind == "skip"]
    samples = {spec.name: spec.sample for spec in models if spec.sample < 1}
    return ModelSelection([spec.name for spec in models], samples)


def run_proxy(world, process: Process) -> None:
    plan, streams = world.plan, world.open_streams()
    loop = SimLoop(process, world.descriptors)
    files = world.files
    proxy = Proxy(
        Settings(
            process.name,
            plan.partitions,
            plan.in_flight_max,
            plan.default_when_full,
            plan.client_share,
        ),
        streams,
        ScheduleChoice(files.by_name, files.live),
        Cohorts("salt", plan.shares, {name: name for name in plan.shares}),
        model_selection_of(plan),
        RequestIds(random.Random(process.pid).randbytes),
        host=process.host.name,
        clock=world.clock,
    )
    process.parts["proxy"] = proxy
    status = Status(world, process, streams)

    def write_status() -> None:
        status.write()
        loop.call_later(1.0, write_status)

    def reload() -> None:
        proxy.choice = ScheduleChoice(world.files.by_name, world.files.live)

    process.parts["reload"] = lambda: loop.tell(reload, world.wake_ns())
    loop.call_soon(write_status)
    world.note("listens")
    loop.run()


class SimChild:
    """Replace `rdv.serve.supervisor.child.Child` for a simulated process."""

    def __init__(self, world, process: Process, ended: Callable[[int], None]) -> None:
        self._world = world
        self._process = process
        self._on_ended = ended
        self._code: int | None = None
        self._is_told = False
        self._is_over = asyncio.Event()
        process.parts["child"] = self

    @property
    def pid(self) -> int:
        return self._process.pid

    def exits(self, code: int) -> None:
        self._code = code

    def reap(self) -> None:
        if self._code is not None and not self._is_told:
            self._is_told = True
            self._is_over.set()
            self._on_ended(self._code)

    def kill(self) -> None:
        self._world.scheduler.after(0, self._process.kill)

    async def stop(self, grace_s: float) -> None:
        stop: Any = self._process.parts.get("stop")
        if stop is None:
            self.kill()
        else:
            stop()
        try:
            await asyncio.wait_for(self._is_over.wait(), grace_s)
        except TimeoutError:
            self.kill()
            await self._is_over.wait()


class Outputs:
    """Receive what the supervisor reports."""

    def __init__(self, world) -> None:
        self._world = world
        self.control: Any = None
        self.supervisor: Any = None

    def child_line(self, part: Part, line: str) -> None:
        pass

    def own_line(self, line: str, code: str = "", about: str = "") -> None:
        self._world.note("%s", line)

    def own_event(self, event: Event) -> None:
        self._world.note("%s", event.message)

    def model_state(self, model: str, *, is_up: bool, code: str = "") -> None:
        self.control.model_state(model, is_up=is_up, own_pids=list(self.supervisor.pids()))

    def all_settled(self, missing: list[str]) -> None:
        self._world.note("all settled, without %s", missing)
        self._world.is_settled = True


def run_supervisor(world, process: Process) -> None:
    loop = SimLoop(process, world.descriptors)
    outputs = Outputs(world)

    def launch(part: Part, line, ended) -> SimChild:
        return SimChild(world, world.spawn(part), ended)

    supervisor = Supervisor(world.wanted_parts, outputs, launch, world.clock)
    control = Control(
        world.decision,
        world.clock,
        lambda line: supervisor.reported(line.name, line.pid, line.state),
        outputs.own_line,
    )
    outputs.control, outputs.supervisor = control, supervisor
    process.parts["supervisor"] = supervisor

    def ended(task: asyncio.Task) -> None:
        error = None if task.cancelled() else task.exception()
        if error is not None and process.state != "dead":
            world.oracle.broke("supervisor", f"{type(error).__name__}: {error}")

    loop.create_task(supervisor.run()).add_done_callback(ended)
    loop.run()
