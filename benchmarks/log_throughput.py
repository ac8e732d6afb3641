"""Measure one process: send, send_many, poll, Arrow."""

from __future__ import annotations

import fcntl
import os
from functools import partial
from pathlib import Path

from benchmarks.report import Figure, best_ns
from rdv.stream import Producer, open_stream
from rdv.stream.files import FileStream

VALUE = b'{"x": "' + b"y" * 290 + b'"}\n'
ENTRY = bytes(32)


def bare_sends(directory: Path, count: int) -> None:
    """Make the calls that an append needs at least: flock, two pwrites, unlock."""
    flags = os.O_RDWR | os.O_CREAT | os.O_TRUNC
    values, index, lock = (os.open(directory / n, flags) for n in ("values", "index", "lock"))
    size = len(VALUE)
    for n in range(count):
        fcntl.flock(lock, fcntl.LOCK_EX)
        os.pwrite(values, VALUE, n * size)
        os.pwrite(index, ENTRY, n * 32)
        fcntl.flock(lock, fcntl.LOCK_UN)
    for fd in (values, index, lock):
        os.close(fd)


def bare_batches(directory: Path, batch: int, count: int) -> None:
    """Make the same calls for batches that are already one string of bytes."""
    flags = os.O_RDWR | os.O_CREAT | os.O_TRUNC
    values, index, lock = (os.open(directory / n, flags) for n in ("values", "index", "lock"))
    value, entry = VALUE * batch, ENTRY * batch
    for n in range(count):
        fcntl.flock(lock, fcntl.LOCK_EX)
        os.pwrite(values, value, n * len(value))
        os.pwrite(index, entry, n * len(entry))
        fcntl.flock(lock, fcntl.LOCK_UN)
    for fd in (values, index, lock):
        os.close(fd)


def sends(producer: Producer, count: int) -> None:
    for _ in range(count):
        producer.send("sends", VALUE, partition=0)


def batches(producer: Producer, batch: int, count: int) -> None:
    values = [VALUE] * batch
    for _ in range(count):
        producer.send_many("batches", values, partition=0)


def throughput(directory: Path) -> list[Figure]:
    figures = []
    stream = open_stream(str(directory / "throughput"))
    assert isinstance(stream, FileStream)
    with stream, stream.producer() as producer:
        count = 20_000
        sends(producer, 100)
        bare_us = best_ns(partial(bare_sends, directory, count)) / count / 1000
        send_us = best_ns(partial(sends, producer, count)) / count / 1000
        ratio = send_us / bare_us
        figures.append(
            Figure(
                "`send` of one record",
                f"{send_us:.1f} µs",
                f"flock + 2 pwrites {bare_us:.1f} µs ({ratio:.1f}×)",
                "≤ 3×",
                ratio <= 3,
            )
        )
        for batch, bound in ((100, 400_000), (1000, 700_000)):
            rounds = 100_000 // batch
            bare = 1e9 * 100_000 / best_ns(partial(bare_batches, directory, batch, rounds))
            rate = 1e9 * 100_000 / best_ns(partial(batches, producer, batch, rounds))
            figures.append(
                Figure(
                    f"`send_many` of {batch}",
                    f"{rate:,.0f} records/s",
                    f"bare calls {bare:,.0f} ({rate / bare:.0%})",
                    f"≥ {bound:,}",
                    rate >= bound,
                )
            )
        figures += reading(stream)
    return figures


def reading(stream: FileStream) -> list[Figure]:
    records = stream.end("batches")
    size = records * len(VALUE)
    paths = sorted(Path(stream.address, "batches", "0").glob("*.jsonl"))

    def bare() -> None:
        for path in paths:
            with path.open("rb", buffering=0) as file:
                while file.read(500 * len(VALUE)):
                    pass

    def polls() -> None:
        with stream.consumer(["batches"]) as consumer:
            while consumer.poll(500):
                pass

    bare_rate = 1e9 * records / best_ns(bare, 3)
    rate = 1e9 * records / best_ns(polls, 3)
    arrow = size / best_ns(lambda: stream.read_arrow("batches"), 3)
    return [
        Figure(
            "`poll` of 500 waiting",
            f"{rate:,.0f} records/s",
            f"bare reads {bare_rate:,.0f} ({rate / bare_rate:.0%})",
            "≥ 700,000",
            rate >= 700_000,
        ),
        Figure(
            "`read_arrow`, every CRC checked",
            f"{arrow:.1f} GB/s",
            f"bare reads {bare_rate * len(VALUE) / 1e9:.1f} GB/s",
            "≥ 1 GB/s",
            arrow >= 1,
        ),
    ]
