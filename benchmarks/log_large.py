"""Measure a log of 1 GB: finding its end, and seeking by time."""

from __future__ import annotations

from pathlib import Path
from time import perf_counter_ns

from benchmarks.log_throughput import VALUE
from benchmarks.report import Figure, best_ns
from rdv.stream import open_stream

SIZE_BYTES = 1_000_000_000
BATCH = 2000


def large(directory: Path) -> list[Figure]:
    path = str(directory / "large")
    values = [VALUE] * BATCH
    start_ns = perf_counter_ns()
    with open_stream(path) as stream, stream.producer() as producer:
        for _ in range(SIZE_BYTES // (len(VALUE) * BATCH)):
            producer.send_many("big", values, partition=0)
    took_s = (perf_counter_ns() - start_ns) / 1e9

    def find_end() -> None:
        with open_stream(path) as stream, stream.producer() as producer:
            assert stream.end("big") > 0
            producer.send("big", VALUE, partition=0)

    end_ms = best_ns(find_end) / 1e6
    with open_stream(path) as stream, stream.consumer(["big"]) as consumer:
        middle = consumer.poll(1)[0].timestamp_ns + int(took_s * 5e8)
        seek_ms = best_ns(lambda: stream.offset_at("big", 0, middle)) / 1e6
    return [
        Figure(
            "1 GB log: open, find the end, append", f"{end_ms:.2f} ms", "-", "< 20 ms", end_ms < 20
        ),
        Figure("1 GB log: seek by time", f"{seek_ms:.2f} ms", "-", "< 5 ms", seek_ms < 5),
    ]
