"""Run the workers of one model beside a running decision: `rdv model run`."""

from __future__ import annotations

import os

import msgspec

from rdv.decision import Decision, ModelConfig
from rdv.decision.files import Stamps
from rdv.serve.observer import NeverServed, Observer
from rdv.serve.supervisor.plan import Part, ready_s
from rdv.status.lines import GONE


class Workers:
    """The workers of one model, for the supervisor."""

    def __init__(
        self, decision: Decision, name: str, model: ModelConfig, numbers: list[int]
    ) -> None:
        # The decision has only this model, so that only its files are watched.
        self.decision = decision.replace(models={name: model})
        self._name = name
        self._model = model
        self._numbers = numbers
        self._stamps = Stamps()

    def wanted(self) -> list[Part]:
        """Return the workers to run, with the stamp of their files as they are now."""
        config = msgspec.json.encode(self._model).decode()
        model = self._name if self._model.scores else ""
        stamp = self._stamps.of(self.decision)[self._name]
        directory = os.path.abspath(self.decision.directory)
        start = ("worker", directory, self._name, "--config", config, "--number")
        env = (*self.decision.env, *self._model.variables)
        return [
            Part(
                f"{self._name}-{n}",
                "worker",
                (*start, str(n)),
                model,
                stamp,
                env,
                self._model.made_of,
                ready_s(self._model),
                self._model.limits,
            )
            for n in self._numbers
        ]


def free_numbers(decision: Decision, name: str, count: int) -> list[int]:
    """Return the lowest numbers that no running worker of the model has."""
    try:
        with Observer(decision, window_s=0.001) as observer:
            rows = observer.look()["processes"]
    except NeverServed:
        rows = []
    gone = (*GONE, "not running")
    taken = {row["name"] for row in rows if row["state"] not in gone}
    free = (n for n in range(len(taken) + count) if f"{name}-{n}" not in taken)
    return [number for number, _ in zip(free, range(count), strict=False)]
