"""Run the exercises of a drill one by one: time without a fault, the fault, the recovery."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from signal import SIGKILL, SIGTERM
from typing import IO

from rdv.decision import Decision
from rdv.decision.schedules import longest_wait_ms
from rdv.load.drill.copy_server import CopyServer
from rdv.load.drill.copying import PROXIES, longest_sla_ms, settings, targets_of
from rdv.load.drill.damaging import DamagedFile, corrupt, misplace_sector, remove_values, step_clock
from rdv.load.drill.faults import (
    can_be_greedy,
    can_fill_disks,
    greedy_client,
    locks_held,
    replace_directories,
    send_signal,
    slow_down,
    stopped,
    without_room,
)
from rdv.load.drill.load import ClientLog, Load, TimerDelays
from rdv.load.drill.mix import Asked, Recovery, mix_of
from rdv.load.drill.plan import (
    HITS_THE_PROCESS,
    OVERLOAD_FACTOR,
    CopyNotServed,
    DrillPlan,
    Exercise,
    holds,
)
from rdv.load.drill.verdict import Span
from rdv.rendezvous.topology import proxy_name

Progress = Callable[[str], None]
_WARM_S = 1.5
_WINDOW_S = 0.4
_WINDOW_MIN, _WINDOW_MAX = 20, 200
"""The minimum and maximum number of answers by which a recovery is recognised; the mix of this
window is computed anew for each answer.
"""


class DrillRun:
    """The state of a drill while it runs, on one event loop."""

    def __init__(
        self,
        decision: Decision,
        plan: DrillPlan,
        bodies: Sequence[bytes],
        port: int,
        progress: Progress,
    ) -> None:
        self.decision = decision
        self._plan = plan
        self._bodies = bodies
        self._port = port
        self._progress = progress
        self.client_log = ClientLog()
        self.timers = TimerDelays()
        self.spans: list[Span] = []
        self.damaged_files: list[DamagedFile] = []
        """Damaged files, for `record.read_record` to look for."""
        self.edits: list[str] = []
        """Labels of the live schedule after each edit."""
        self.left_out: list[str] = []
        """Parts that did not come up."""
        self._ended = ""
        self._proxies = [proxy_name(port + n) for n in range(PROXIES)]
        self._greedy_ms = longest_sla_ms(decision)

    async def run(self, log: IO[bytes]) -> None:
        """Serve the copy, send load, run the exercises; shut down in order even when cancelled."""
        task = asyncio.current_task()
        assert task is not None
        asyncio.get_running_loop().add_signal_handler(SIGTERM, task.cancel)
        self._server = CopyServer(self.decision, settings(self._port), log)
        ports = [self._port + n for n in range(PROXIES)]
        self._load = Load(ports, self._bodies, self.client_log, longest_wait_ms(self.decision))
        try:
            others = [t.name for t in targets_of(self.decision, self._port) if t.role != "proxy"]
            self.left_out = await self._server.start(self._proxies, others)
            if self.left_out:
                self._progress(f"without {', '.join(self.left_out)}, which never came up")
            self._load.start(self._plan.rate)
            self.timers.start()
            await asyncio.sleep(_WARM_S)
            for number, exercise in enumerate(self._plan.exercises, 1):
                await self._exercise(number, exercise)
            await self._load.stop()
        finally:
            self.timers.stop()
            self._load.cancel()
            await self._server.stop()

    async def _exercise(self, number: int, exercise: Exercise) -> None:
        total = len(self._plan.exercises)
        self._progress(f"{number}/{total}  {exercise}")
        pace, begin_ns = self._plan.pace, time.monotonic_ns()
        if reason := self._cannot(exercise):
            span = Span(exercise, begin_ns, begin_ns, begin_ns, None, begin_ns, 0, reason, True)
            self.spans.append(span)
            return
        await asyncio.sleep(pace.before_s)
        before = mix_of(self.client_log.since(begin_ns))
        fault_ns = time.monotonic_ns()
        old_pid = self._server.pids.get(exercise.target.name, 0)
        note = await self._inject(exercise, self._server.pid_of(exercise.target.name))
        fault_end_ns = time.monotonic_ns() if holds(exercise.fault) else fault_ns
        window = int(min(max(_WINDOW_MIN, self._plan.rate * _WINDOW_S), _WINDOW_MAX))
        recovery = Recovery(before, fault_end_ns, window)
        ready_ns, is_back = await self._recovered(exercise, recovery, old_pid)
        recovered_ns = recovery.begun_ns if is_back else None
        await asyncio.sleep(pace.after_s)
        proxy_port = 0
        if exercise.target.role == "proxy" and exercise.fault in HITS_THE_PROCESS:
            proxy_port = self._port + self._proxies.index(exercise.target.name)
        times = begin_ns, fault_ns, fault_end_ns, recovered_ns, time.monotonic_ns()
        self.spans.append(Span(exercise, *times, proxy_port, note, ready_ns=ready_ns))

    def _cannot(self, exercise: Exercise) -> str:
        if self._ended:
            return self._ended
        if exercise.target.name in self.left_out:
            return "it never came up"
        if exercise.fault == "disk" and not can_fill_disks():
            return "this system cannot limit the files of another process"
        if exercise.fault == "greedy" and not can_be_greedy():
            return "this system has no separate address for a client"
        if exercise.fault in ("corrupt", "clock") and not exercise.target.scores:
            return "it writes to no stream"
        return ""

    async def _inject(self, exercise: Exercise, pid: int) -> str:
        """Apply the fault, for as long as it lasts; return a note for the report."""
        fault, target, hold_s = exercise.fault, exercise.target, self._plan.pace.hold_s
        if fault == "kill":
            send_signal(pid, SIGKILL)
        elif fault == "stop":
            with stopped(pid):
                await asyncio.sleep(hold_s)
        elif fault == "slow":
            await slow_down(pid, hold_s)
        elif fault == "lock":
            async with locks_held(self.decision, target, self._proxies) as count:
                await asyncio.sleep(hold_s)
            return f"{count} locks held"
        elif fault == "overload":
            await self._load.burst((OVERLOAD_FACTOR - 1) * self._plan.rate, hold_s)
        elif fault == "greedy":
            async with greedy_client(self._load.ports, self._greedy_ms) as note:
                await asyncio.sleep(hold_s)
            return note
        elif fault == "replace":
            self.edits.append(replace_directories(self.decision))
        elif fault == "disk":
            with without_room(self._server.running()):
                await asyncio.sleep(hold_s)
        else:
            return await self._damage(exercise, pid, hold_s)
        return ""

    async def _damage(self, exercise: Exercise, pid: int, hold_s: float) -> str:
        """Damage the streams, then wait `hold_s` for the effect; return a note for the report."""
        target = exercise.target
        if exercise.fault == "corrupt":
            done = corrupt(self.decision, target, self._proxies)
        elif exercise.fault == "clock":
            done = step_clock(self.decision, target, self._proxies)
            send_signal(pid, SIGKILL)
        elif exercise.fault == "sector":
            done = misplace_sector(self.decision, target)
        else:
            done = remove_values(self.decision, target)
        self.damaged_files += done.files
        await asyncio.sleep(hold_s)
        return str(done)

    async def _recovered(
        self, exercise: Exercise, recovery: Recovery, old_pid: int
    ) -> tuple[int | None, bool]:
        """Wait until the mix is back (and a killed process too), for `recovery_s_max` seconds at
        most.

        Returns when the killed process was ready again, and whether everything is back.
        """
        is_back = asyncio.Event()

        def listen(asked: Asked) -> None:
            if not is_back.is_set() and recovery.add(asked):
                is_back.set()

        self.client_log.listener = listen
        limit_s = self._plan.pace.recovery_s_max
        ready_ns = None
        try:
            async with asyncio.timeout(limit_s):
                if exercise.fault == "kill":
                    if not await self._server.until_new(exercise.target.name, old_pid, limit_s):
                        return None, False
                    ready_ns = time.monotonic_ns()
                await is_back.wait()
        except TimeoutError:
            return ready_ns, False
        except CopyNotServed as error:
            self._ended = error.text()
            return ready_ns, False
        finally:
            self.client_log.listener = None
        return ready_ns, True
