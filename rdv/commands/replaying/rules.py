"""Apply a production worker's rules in a paced replay: the same code, with another clock."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rdv.analysis.replay.paced import Asked
from rdv.decision import ModelConfig
from rdv.rendezvous.backlog import Backlog, Waiting


class WorkerRules:
    """The rules of `rdv.serve.worker` for waiting requests. For one thread only."""

    def __init__(self, config: ModelConfig) -> None:
        self._backlog = Backlog(
            config.batch_max,
            "skip" if config.skips else "all",
            batch_wait_ms=config.batch_wait_ms,
        )

    def __len__(self) -> int:
        return len(self._backlog)

    def add(self, found: Sequence[Asked], now_ns: int) -> None:
        """Add requests; see `paced.Rules`."""
        waiting = [_waiting(asked) for asked in found]
        self._backlog.add(waiting, now_ns)

    def plan(self, now_ns: int) -> tuple[list[tuple[Asked, str]], list[Asked]]:
        """Plan the next batch; see `paced.Rules`."""
        plan = self._backlog.plan(now_ns)
        refused = [(_asked(one.waiting), str(one.refusal)) for one in plan.refused]
        return refused, [_asked(waiting) for waiting in plan.batch]

    def held_until_ns(self) -> int:
        """Return until when a batch is held; see `paced.Rules`."""
        return self._backlog.held_until_ns()

    def learn(self, rows: int, took_ms: float) -> None:
        """Learn from the duration of a batch; see `paced.Rules`."""
        self._backlog.cost.learn(rows, took_ms)


def _waiting(asked: Asked) -> Waiting:
    block: Any = asked  # the rules do not read the block; it carries our request
    return Waiting(asked.request, block, 0, asked.deadline_ns, asked.target_ns)


def _asked(waiting: Waiting) -> Asked:
    asked: Any = waiting.block
    assert isinstance(asked, Asked)
    return asked
