"""Check the workshop's case in simulated time: a champion of 1,000 rows/s gets 2,000 requests/s.

The worker's plan is the same as in production; time advances by the cost of each batch.
"""

from __future__ import annotations

import msgspec
import pytest

from rdv.rendezvous.backlog import Backlog, Cost, Waiting
from rdv.rendezvous.messages import Request
from rdv.stream import Block, Record

MS = 1_000_000
SLA_MS, WINDOW_MS = 50, 30
SECONDS = 4


def arrive(number, every_ns):
    at_ns = number * every_ns
    request = Request(f"{number}", 1, "h", 1, "p", msgspec.Raw(b"1"))
    block = Block.of([Record("p", 0, number, 1, b"")])
    return Waiting(request, block, 0, at_ns + SLA_MS * MS, at_ns + WINDOW_MS * MS)


def live_through(when_behind, *, row_ms, per_s):
    """Return the number of answers in the champion's window, and when (ms) others were refused."""
    every_ns = 10**9 // per_s
    lot = Backlog(64, when_behind, Cost(row_ms))
    now_ns, coming, in_time, refused_ms = 0, 0, 0, []
    while now_ns < SECONDS * 10**9:
        found = []
        while coming * every_ns <= now_ns:
            found.append(arrive(coming, every_ns))
            coming += 1
        lot.add(found, now_ns)
        plan = lot.plan(now_ns)
        for one in plan.refused:
            refused_ms.append((now_ns - (one.waiting.deadline_ns - SLA_MS * MS)) / MS)
        if not plan.batch:
            now_ns = max(coming * every_ns, now_ns + 1)
            continue
        now_ns += int(len(plan.batch) * row_ms * MS)
        lot.cost.learn(len(plan.batch), len(plan.batch) * row_ms)
        in_time += sum(one.target_ns > now_ns for one in plan.batch)
    return in_time, refused_ms


@pytest.mark.parametrize("overload", [1, 2, 5, 20])
def test_a_champion_that_is_behind_still_answers_near_its_full_capacity(overload):
    per_s, capacity = 2_000, 2_000 / overload
    in_time, refused_ms = live_through("skip", row_ms=1_000 / capacity, per_s=per_s)
    assert in_time >= 0.85 * capacity * SECONDS
    # The refusal reaches the server before the end of the window, and it takes the fallback.
    assert all(wait_ms < WINDOW_MS for wait_ms in refused_ms)
    if overload > 1:
        assert len(refused_ms) >= (per_s - capacity) * SECONDS * 0.9


def test_a_model_that_takes_the_oldest_first_is_always_late():
    in_time, refused_ms = live_through("all", row_ms=1.0, per_s=2_000)
    assert in_time < 0.05 * 1_000 * SECONDS
    assert refused_ms == []
