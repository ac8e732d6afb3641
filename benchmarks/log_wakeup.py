"""Measure from when `send` returns in one process until `poll` returns in another, idle one."""

from __future__ import annotations

import os
import struct
from pathlib import Path
from time import perf_counter_ns

from benchmarks.report import Figure
from rdv.stream import open_stream

ROUNDS = 1500
PAUSE_NS = 300_000
"""The time between two rounds in ns, long enough for the reader to go to sleep."""


def pause() -> None:
    until = perf_counter_ns() + PAUSE_NS
    while perf_counter_ns() < until:
        pass


def percentile(samples: list[int], share: float) -> float:
    """Return a percentile in microseconds."""
    return sorted(samples)[int(len(samples) * share)] / 1000


def pipe_samples() -> list[int]:
    """Measure the same through bare pipes: from the writer's clock after the write to the
    reader's.
    """
    there_r, there_w = os.pipe()
    back_r, back_w = os.pipe()
    if os.fork() == 0:
        for _ in range(ROUNDS):
            os.read(there_r, 1)
            os.write(back_w, struct.pack("<q", perf_counter_ns()))
        os._exit(0)
    samples = []
    for _ in range(ROUNDS):
        pause()
        os.write(there_w, b"x")
        sent = perf_counter_ns()
        samples.append(struct.unpack("<q", os.read(back_r, 8))[0] - sent)
    os.wait()
    return samples


def log_samples(path: Path) -> list[int]:
    back_r, back_w = os.pipe()
    with open_stream(str(path)) as stream:
        stream.make_topic("bells")
    if os.fork() == 0:
        with open_stream(str(path)) as stream, stream.consumer(["bells"]) as consumer:
            for _ in range(ROUNDS):
                while not consumer.poll(timeout=5):
                    pass
                os.write(back_w, struct.pack("<q", perf_counter_ns()))
        os._exit(0)
    samples = []
    with open_stream(str(path)) as stream, stream.producer() as producer:
        for _ in range(ROUNDS):
            pause()
            producer.send("bells", b"x\n")
            sent = perf_counter_ns()
            samples.append(struct.unpack("<q", os.read(back_r, 8))[0] - sent)
    os.wait()
    return samples


def wakeup(directory: Path) -> list[Figure]:
    pipe_us = percentile(pipe_samples(), 0.5)
    samples = log_samples(directory / "wakeup")
    log_us = percentile(samples, 0.5)
    ratio = log_us / pipe_us
    return [
        Figure(
            "idle wake-up, `send` returned to `poll` returned, p50",
            f"{log_us:.0f} µs (p99 {percentile(samples, 0.99):.0f} µs)",
            f"bare pipe {pipe_us:.0f} µs ({ratio:.1f}×)",
            "≤ 3×",
            ratio <= 3,
        )
    ]
