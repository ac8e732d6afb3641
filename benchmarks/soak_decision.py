"""Run ten minutes under load: is memory flat, is disk use bounded, does the SLA hold?

    python -m benchmarks.soak_decision [--minutes 10] [--rate 2000] [--where DIR]

The decision of `decision_setup` (three numpy networks, file streams, one proxy, one server) has
`sla_ms = 50` and is driven in an open loop. Log files of 8 MiB are kept for a minute, so that the
disk holds about a minute and one file for every topic, however long it runs. Exits 1 if a bound
does not hold. Linux only.

Misses (later than SLA + 10 ms) are counted by two clocks. The proxy's, from the moment when it had
the request, is the promise. The client's, from the scheduled send, includes what the machine, the
network and the client itself add: it is reported, but does not count against the decision.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

import msgspec
import uvloop

from benchmarks.decision_setup import SCHEDULE, Running, bodies
from benchmarks.report import Figure, show
from rdv.load.generator import Generator, LoadLimits, Tally, constant, render_request
from rdv.stream import open_stream

SLA_MS = 50.0
MISS_MS = SLA_MS + 10.0
KEPT_S = 60
SEGMENT_BYTES = 8 * 1024 * 1024
LOG = f"[log]\nretention_ms = {KEPT_S * 1000}\nsegment_bytes = {SEGMENT_BYTES}\n"
SAMPLE_S = 10.0
SAMPLES_MIN = 30
"""The minimum number of samples; a short run is sampled more often."""
GROWTH_SHARE, GROWTH_BYTES = 0.05, 5 * 1024 * 1024
DISK_BYTES_MAX = 1024**3
MIB = 1024 * 1024


class _Answer(msgspec.Struct):
    kind: str
    waited_ms: float


_decode = msgspec.json.Decoder(_Answer).decode


class Answers(Tally):
    """The counts of a run, in fixed memory."""

    def __init__(self) -> None:
        super().__init__()
        self.kinds: Counter[str] = Counter()
        self.missed_by_client = self.missed_by_proxy = 0
        self.worst_ms = 0.0
        """The longest wait of an answer in ms, by the proxy's clock."""

    def answered(
        self, number: int, status: int, latency_ns: int, service_ns: int, body: bytes
    ) -> None:
        super().answered(number, status, latency_ns, service_ns, body)
        if status != 200:
            return
        answer = _decode(body)
        self.kinds[answer.kind] += 1
        self.missed_by_client += latency_ns > MISS_MS * 1e6
        self.missed_by_proxy += answer.waited_ms > MISS_MS
        self.worst_ms = max(self.worst_ms, answer.waited_ms)


@dataclass
class Memory:
    """Samples of one process, in bytes: all resident memory, and the anonymous part of it."""

    resident: list[int] = field(default_factory=list)
    own: list[int] = field(default_factory=list)

    def sample(self, pid: int) -> None:
        fields = dict(
            line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines()
        )
        for values, key in ((self.resident, "VmRSS"), (self.own, "RssAnon")):
            values.append(int(fields[key].split()[0]) * 1024)


def is_flat(before: float, after: float) -> bool:
    """Return whether it has grown by no more than 5 % and 5 MiB."""
    return after <= before * (1 + GROWTH_SHARE) + GROWTH_BYTES


def fifth(values: list[int], number: int) -> float:
    """Return the median of the second (1), … the last (4) fifth of the samples."""
    count = len(values)
    return median(values[count * number // 5 : max(1, count * (number + 1) // 5)])


def disk_bytes(directory: Path) -> int:
    """Return the size of all files of the directory; files may come and go meanwhile."""
    total = 0
    for folder, _, names in os.walk(directory):
        for name in names:
            try:
                total += os.stat(os.path.join(folder, name)).st_size
            except FileNotFoundError:
                continue
    return total


class Soak:
    """One run under load."""

    def __init__(self, running: Running, minutes: float, rate: float) -> None:
        self._running = running
        self._seconds = minutes * 60
        self.rate = rate
        self.answers = Answers()
        self.memory = {name: Memory() for name in (*running.pids(), "client")}
        self.disk: list[int] = []
        host = f"127.0.0.1:{running.port}"
        self._requests = [
            render_request("POST", "/v1/decide", host, body) for body in bodies().splitlines()
        ]

    async def run(self) -> None:
        sampling = asyncio.get_running_loop().create_task(self._sample())
        requests, count = self._requests, len(self._requests)
        generator = Generator(
            "127.0.0.1",
            self._running.port,
            lambda n: requests[n % count],
            self.answers,
            LoadLimits(connections_max=64),
        )
        await generator.run(constant(self.rate), self._seconds)
        sampling.cancel()

    async def _sample(self) -> None:
        every_s = min(SAMPLE_S, self._seconds / SAMPLES_MIN)
        loop = asyncio.get_running_loop()
        begin_s = time.monotonic()
        while True:
            await asyncio.sleep(every_s)
            pids = self._running.pids() | {"client": os.getpid()}
            for name, memory in self.memory.items():
                memory.sample(pids[name])
            # In a thread, so that the client is not delayed.
            directory = self._running.directory
            self.disk.append(await loop.run_in_executor(None, disk_bytes, directory))
            self._tell(time.monotonic() - begin_s)

    def _tell(self, passed_s: float) -> None:
        answers = self.answers
        sizes = "  ".join(f"{n} {m.resident[-1] / MIB:.0f}" for n, m in self.memory.items())
        p50, p99 = (value / 1e6 for value in answers.latency.percentiles((50, 99)))
        print(
            f"{passed_s:5.0f} s  {answers.requests:9,}  p50 {p50:.2f} ms  p99 {p99:.1f} ms  "
            f"misses {answers.missed_by_client} client {answers.missed_by_proxy} proxy  "
            f"MiB: {sizes}  disk {self.disk[-1] / MIB:.0f}",
            file=sys.stderr,
        )


def proxy_counters(directory: Path) -> dict[str, int]:
    """Return the proxy's latest status line."""
    last: dict[str, int] = {}
    with (
        open_stream(str(directory / "control")) as control,
        control.consumer(["status"]) as reader,
    ):
        while records := reader.poll(10_000):
            for record in records:
                line = msgspec.json.decode(record.value)
                if line.get("role") == "proxy":
                    last = line
    return last


def memory_figures(soak: Soak) -> list[Figure]:
    figures = []
    for name, memory in soak.memory.items():
        before, after = (fifth(memory.resident, number) / MIB for number in (1, 4))
        own = " to ".join(f"{fifth(memory.own, number) / MIB:.1f}" for number in (1, 4))
        is_judged = name != "client"
        figures.append(
            Figure(
                f"memory of {name}, MiB (its own: {own})",
                f"{after:.1f} ({after / before - 1:+.1%})",
                f"{before:.1f} in the second fifth",
                "<= + 5 % + 5 MiB" if is_judged else "-",
                not is_judged or is_flat(before * MIB, after * MIB),
            )
        )
    return figures


def answer_figures(soak: Soak, proxy: dict[str, int]) -> list[Figure]:
    answers = soak.answers
    shares = ", ".join(f"{k} {n / answers.requests:.3%}" for k, n in answers.kinds.most_common())
    percents = (50.0, 90.0, 99.0, 99.9, 99.99, 100.0)
    values = zip(percents, answers.latency.percentiles(percents), strict=True)
    times = ", ".join(f"p{p:g} {ns / 1e6:.2f}" for p, ns in values)
    planned = int(soak.rate * soak._seconds)
    only_client = answers.missed_by_client - answers.missed_by_proxy
    counted = proxy.get("misses", -1)
    return [
        Figure("requests", f"{answers.requests:,}", f"{planned:,} planned", "all",
               answers.requests >= planned - 1),
        Figure("kinds", shares, "-", "-", holds=True),
        Figure("latency from the scheduled send, ms", times, "-", "-", holds=True),
        Figure("without an answer", f"{answers.errors:,}", str(answers.unanswered() or "-"), "0",
               answers.errors == 0),
        Figure("misses by the proxy's clock (SLA + 10 ms)", f"{answers.missed_by_proxy:,}",
               f"worst answer {answers.worst_ms:.1f} ms", "0", answers.missed_by_proxy == 0),
        Figure("the same by the proxy's own counter", f"{counted:,}",
               f"{answers.missed_by_proxy:,} in the answers", "equal",
               counted == answers.missed_by_proxy),
        Figure("misses that only the client saw", f"{max(0, only_client):,}",
               f"{answers.missed_by_client:,} seen by the client", "-", holds=True),
    ]  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--rate", type=float, default=2000.0)
    parser.add_argument("--where", help="make the decision's directory below this one")
    chosen = parser.parse_args()
    if chosen.minutes <= 0 or chosen.rate <= 0:
        parser.error("--minutes and --rate are more than 0")
    assert f"sla_ms = {SLA_MS:.0f}\n" in SCHEDULE
    with Running(chosen.where, LOG) as running:
        soak = Soak(running, chosen.minutes, chosen.rate)
        uvloop.run(soak.run())
        time.sleep(1.5)  # the proxy writes its counters once a second
        figures = answer_figures(soak, proxy_counters(running.directory))
    figures += memory_figures(soak)
    most = max(soak.disk)
    figures.append(
        Figure(
            "disk, most MiB",
            f"{most / MIB:,.0f}",
            f"{KEPT_S} s and files of {SEGMENT_BYTES // MIB} MiB are kept",
            f"<= {DISK_BYTES_MAX // MIB:,}",
            most <= DISK_BYTES_MAX,
        )
    )
    show(f"{chosen.minutes:g} minutes at {chosen.rate:,.0f} requests/s, sla_ms = 50", figures)
    sys.exit(0 if all(figure.holds for figure in figures) else 1)


if __name__ == "__main__":
    main()
