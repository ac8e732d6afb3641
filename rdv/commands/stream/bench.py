"""Implement `rdv stream bench`."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from rdv.commands.errors import InvalidOption
from rdv.commands.options import Json
from rdv.commands.output import Column, Output, Progress, number
from rdv.commands.units import parse_size
from rdv.errors import NotUsable

if TYPE_CHECKING:
    from rdv.stream.files import FileStream

EXAMPLES = (
    "rdv stream bench",
    "rdv stream bench /mnt/data --value-size 4KiB --fsync always",
    "rdv stream bench --records 1000000 --json",
)
_COLUMNS = (
    Column("what"),
    number("records"),
    number("records_per_s", "records/s", "{:,.0f}".format),
    number("us_per_record", "us/record", "{:,.2f}".format),
    number("us_per_call", "us/call", "{:,.1f}".format),
    number("bytes_per_s", "MB/s", lambda rate: f"{rate / 1e6:,.1f}"),
)
_SECONDS_MAX = 5.0
"""The maximum duration of a measurement; a slow one (fsync) measures fewer records."""


def bench(
    directory: Annotated[
        str | None,
        typer.Argument(
            metavar="DIRECTORY",
            help="Where to make the scratch stream, which is deleted afterwards: put it on the "
            "disk that you want to know about. Default: the temporary directory.",
        ),
    ] = None,
    *,
    records: Annotated[
        int, typer.Option(metavar="N", help="Records to send in batches; singly, a tenth of it.")
    ] = 200_000,
    value_size: Annotated[str, typer.Option(metavar="SIZE", help="Size of each record.")] = "200B",
    fsync: Annotated[
        Literal["none", "interval", "always"], typer.Option(help="Sync policy to measure.")
    ] = "none",
    as_json: Json = False,
) -> None:
    """Measure the log on this machine.

    One process, one partition, one record after the other: what a single producer and a single
    consumer get. A measurement ends after five seconds at the latest.
    """
    size_bytes = parse_size(value_size)
    if records < 1 or size_bytes < 1:
        raise InvalidOption("--records, --value-size", "both are 1 or more")
    if directory is not None and not Path(directory).is_dir():
        raise NotUsable("DIRECTORY", f"there is no directory {directory}")
    with tempfile.TemporaryDirectory(prefix="rdv-bench-", dir=directory) as scratch:
        rows = list(_measure(f"{scratch}/stream", records, size_bytes, fsync))
    Output(as_json=as_json).table(_COLUMNS, rows)


def _measure(path: str, records: int, size_bytes: int, fsync: Any) -> Iterator[dict[str, Any]]:
    from rdv.stream import StreamConfig, create_stream
    from rdv.stream.files import files_of

    config = StreamConfig(fsync=fsync, record_bytes_max=max(size_bytes, 1024))
    value = b"x" * (size_bytes - 1) + b"\n"
    with files_of(create_stream(path, config)) as stream:
        for plan in _plans(stream, value, records, config.batch_bytes_max // size_bytes):
            yield _run(plan, size_bytes, fsync)


@dataclass(frozen=True)
class _Plan:
    """One measurement: `call` handles some records and returns how many, up to `records`."""

    what: str
    records: int
    call: Callable[[], int]


def _plans(stream: FileStream, value: bytes, records: int, batch_max: int) -> Iterator[_Plan]:
    with stream.producer() as producer:

        def send() -> int:
            producer.send("bench", value)
            return 1

        send()
        yield _Plan("send", max(1, records // 10), send)
        for size in (100, 1000):
            batch = [value] * max(1, min(size, batch_max))

            def send_many(batch: list[bytes] = batch) -> int:
                producer.send_many("bench", batch)
                return len(batch)

            yield _Plan(f"send_many {len(batch)}", records, send_many)
    with stream.consumer(["bench"]) as consumer:
        yield _Plan("poll 500", stream.end("bench"), lambda: len(consumer.poll(500)))


def _run(plan: _Plan, size_bytes: int, fsync: str) -> dict[str, Any]:
    done = calls = 0
    with Progress(lambda done, total: f"{plan.what}: {done:,} of {total:,}", plan.records) as shown:
        begin = now = time.perf_counter()
        while done < plan.records and now - begin < _SECONDS_MAX:
            count = plan.call()
            if not count:
                break
            done += count
            calls += 1
            shown.advance(count)
            now = time.perf_counter()
    seconds = max(now - begin, 1e-9)
    return {
        "what": plan.what,
        "fsync": fsync,
        "value_bytes": size_bytes,
        "records": done,
        "seconds": seconds,
        "records_per_s": done / seconds,
        "us_per_record": seconds / done * 1e6,
        "us_per_call": seconds / calls * 1e6,
        "bytes_per_s": done * size_bytes / seconds,
    }
