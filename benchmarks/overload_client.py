"""The clients of `overload_setup.py` use rdv's own load generator.

    python -m benchmarks.overload_client '{"port": 8100, "seconds": 3, "rate": 1000, …}'

The first second is left out, since the workers learn the models' speed then.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections import Counter
from typing import Any

import orjson
import uvloop

from rdv.load.generator import LoadLimits
from rdv.load.generator.arrivals import poisson
from rdv.load.generator.generator import Generator
from rdv.load.generator.tally import Histogram
from rdv.load.generator.wire import render_request

MISS_GRACE_MS = 10.0
WARM_UP_S = 1.0
KEYS = 257
"""How many different numbers replace "#" in the body."""


class Seen:
    """The sink of the load. Counts only while `is_counting`."""

    def __init__(self, sla_ms: float) -> None:
        self._late_ns = int((sla_ms + MISS_GRACE_MS) * 1e6)
        self.latency = Histogram()
        self.models: Counter[str] = Counter()
        self.failed_count = self.late = 0
        self.is_counting = False

    def answered(
        self, number: int, status: int, latency_ns: int, service_ns: int, body: bytes
    ) -> None:
        del number, service_ns
        if not self.is_counting:
            return
        if status != 200:
            self.failed_count += 1
            return
        self.latency.record(latency_ns)
        self.late += latency_ns > self._late_ns
        self.models[orjson.loads(body)["model"] or "default"] += 1

    def failed(self, number: int, reason: str, latency_ns: int) -> None:
        del number, reason, latency_ns
        self.failed_count += self.is_counting

    def told(self, seconds: float) -> dict[str, Any]:
        count = self.models.total() + self.failed_count
        p50, p99, p999 = self.latency.percentiles((50.0, 99.0, 99.9))
        return {
            "requests": count,
            "per_s": count / seconds,
            "by_model": dict(self.models),
            "failed": self.failed_count,
            "late": self.late,
            "p50_ms": p50 / 1e6,
            "p99_ms": p99 / 1e6,
            "p999_ms": p999 / 1e6,
        }


async def drive(work: dict[str, Any]) -> dict[str, Any]:
    sink = Seen(work["sla_ms"])
    bodies = [work["body"].replace("#", str(number)).encode() for number in range(KEYS)]
    rendered = [render_request("POST", "/v1/decide", "127.0.0.1", body) for body in bodies]
    limits = LoadLimits(connections_max=work["connections"] or 1_000)
    generator = Generator("127.0.0.1", work["port"], lambda n: rendered[n % KEYS], sink, limits)
    asyncio.get_running_loop().call_later(WARM_UP_S, setattr, sink, "is_counting", True)
    seconds = WARM_UP_S + work["seconds"]
    if work["rate"]:
        await generator.run(poisson(work["rate"], 1), seconds)
    else:
        await generator.run_closed(work["connections"], seconds)
    return sink.told(work["seconds"])


def main() -> None:
    print(json.dumps(uvloop.run(drive(json.loads(sys.argv[1])))))


if __name__ == "__main__":
    main()
