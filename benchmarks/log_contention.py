"""Measure several processes that append to one partition."""

from __future__ import annotations

import os
from pathlib import Path
from time import monotonic

from benchmarks.log_throughput import VALUE
from benchmarks.report import Figure
from rdv.stream import open_stream

SECONDS = 1.5
START_S = 0.3


def rate(path: Path, processes: int) -> float:
    """Return the records per second that `processes` append together, with one record a send."""
    open_stream(str(path)).close()
    start = monotonic() + START_S
    readers = []
    for _ in range(processes):
        reader, writer = os.pipe()
        if os.fork() == 0:
            os.write(writer, b"%d" % sent_by_one(path, start))
            os._exit(0)
        os.close(writer)
        readers.append(reader)
    total = 0
    for reader in readers:
        total += int(os.read(reader, 100))
        os.close(reader)
        os.wait()
    return total / SECONDS


def sent_by_one(path: Path, start: float) -> int:
    count = 0
    with open_stream(str(path)) as stream, stream.producer() as producer:
        producer.send("shared", VALUE, partition=0)
        while monotonic() < start:
            pass
        while monotonic() < start + SECONDS:
            for _ in range(20):
                producer.send("shared", VALUE, partition=0)
            count += 20
    return count


def contention(directory: Path) -> list[Figure]:
    one = rate(directory / "one", 1)
    four = rate(directory / "four", 4)
    share = four / one
    return [
        Figure(
            "4 processes, one partition",
            f"{four:,.0f} records/s",
            f"1 process {one:,.0f} ({share:.0%})",
            "≥ 60 %",
            share >= 0.6,
        )
    ]
