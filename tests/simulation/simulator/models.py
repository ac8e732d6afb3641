"""Simulate a model that takes as long as its spec says, and fails as often."""

from __future__ import annotations

from typing import Any

import orjson

from rdv.models import ModelError
from simulator.plan import ModelSpec
from simulator.scheduler import MS, Exited, Process

TAIL = 20
CRASHED = 139


class SimModel:
    """Implement `rdv.models.Model` on virtual time."""

    version = "1"

    def __init__(self, world, process: Process, spec: ModelSpec) -> None:
        self._world = world
        self._process = process
        self._spec = spec
        self.takes = spec.takes
        self.watchdog: Any = None

    def predict(self, rows: list[Any], again: Any = None) -> list[Any]:
        spec, world = self._spec, self._world
        numbers = [self._number(row) for row in rows]
        duration_ms = (spec.fixed_ms + spec.row_ms * len(rows)) * world.slowness(spec.name)
        chance = world.random.random
        if spec.tail and not world.is_calming and chance() < spec.tail:
            duration_ms *= TAIL
        dies = spec.crash and not world.is_calming and chance() < spec.crash
        if dies or not spec.poison.isdisjoint(numbers):
            self._process.sleep(int(duration_ms * MS / 2))
            raise Exited(CRASHED)
        timeout_ms = world.plan.predict_timeout_ms
        if duration_ms > timeout_ms * 1.25 or (
            spec.hang and not world.is_calming and chance() < spec.hang
        ):
            # The watchdog's thread looks four times within the timeout.
            self._process.sleep(int(timeout_ms * (1 + chance() / 4) * MS) + MS)
            self.watchdog.look(world.clock.monotonic_ns())
        self._process.sleep(int(duration_ms * MS))
        world.oracle.evaluated(spec.name, numbers)
        return [self._outcome(number) for number in numbers]

    def _number(self, row: Any) -> int:
        """Return the number of the request; check that it came as it was sent."""
        if self.takes == "data":
            value, text = orjson.loads(row), row
        elif self.takes == "values":
            value, text = row, None
        else:
            value, text = orjson.loads(row)["data"], None
        number = value["n"]
        sent = self._world.sent[number]
        same = text == sent if text is not None else value == orjson.loads(sent)
        self._world.oracle.expect(
            same, "same bytes", "%s got %s for %s", self._spec.name, row, sent
        )
        return number

    def _outcome(self, number: int) -> Any:
        spec, chance = self._spec, self._world.random.random
        if spec.nan and chance() < spec.nan:
            return ModelError("the model's result.score is nan")
        if spec.error and chance() < spec.error:
            return ModelError("boom")
        if spec.bad_input and chance() < spec.bad_input:
            return ModelError("the row is odd", "input")
        return orjson.dumps(
            {"m": spec.name, "n": number, "score": number % 7, "parity": number % 2,
             "top": [["a", 1], [spec.name, 2]]}
        )  # fmt: skip

    def close(self) -> None:
        pass
