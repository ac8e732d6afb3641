"""Bugs of the product that the simulator has found and that are not mended yet.

Each has a workaround here, so that further ones are not hidden behind it, and a test that fails
without it (`test_findings.py`, xfail strict). Mended: take both out.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from unittest import mock

import orjson

from rdv.components.server.server import Server


def _hear_with_times(server: Server, now_ns: int) -> list:
    """Remembers when each death was told."""
    poll, down_ns = server._control.poll, server.__dict__.setdefault("down_ns", {})

    def watched(max_records: int) -> list:
        records = poll(max_records)
        for record in records:
            news = orjson.loads(record.value)
            down_ns.pop(news["model"], None)
            if news["state"] == "down":
                down_ns[news["model"]] = record.timestamp_ns
        return records

    server._control.poll = watched
    try:
        return _hear(server, now_ns)
    finally:
        server._control.poll = poll


def _take_by_age(server: Server, records: list, now_ns: int, results: list) -> None:
    """A score that is older than the news of its model's death does not tell that it lives."""
    down_ns: dict[str, int] = server.__dict__.get("down_ns", {})
    old = {
        record.topic
        for record in records
        if record.topic not in server._models
        and record.timestamp_ns <= down_ns.get(record.topic, 0)
    }
    server._models |= old
    _take(server, records, now_ns, results)
    server._models -= old


_hear, _take = Server._hear_of_models, Server._take_scores

WORKAROUNDS = {
    "dead taken for alive": [
        (Server, "_hear_of_models", _hear_with_times),
        (Server, "_take_scores", _take_by_age),
    ],
}


@contextlib.contextmanager
def workarounds(without: str) -> Iterator[None]:
    """All of them but one."""
    with contextlib.ExitStack() as stack:
        for name, replacements in WORKAROUNDS.items():
            for owner, attribute, replacement in replacements if name != without else ():
                stack.enter_context(mock.patch.object(owner, attribute, replacement))
        yield
