"""Define the errors of experiments."""

from __future__ import annotations

from dataclasses import dataclass

from rdv.errors import InputFault


@dataclass(eq=False)
class NoExperiment(InputFault):
    """There are fewer than two cohorts, so there is nothing to compare."""

    directory: str

    def text(self) -> str:
        return f"{self.directory} has no cohorts: there is no experiment"

    def hint(self) -> str:
        return "Name them in rdv.toml: [cohorts.NAME] with share and schedule."


@dataclass(eq=False)
class TooManyKeys(InputFault):
    """There are more keys than are kept in memory."""

    limit: int

    def text(self) -> str:
        return f"there are more than {self.limit:,} different keys"

    def hint(self) -> str:
        return "Look at less at a time: --since and --until."


@dataclass(eq=False)
class NoMetric(InputFault):
    """No request has a value of the metric."""

    metric: str

    def text(self) -> str:
        return f"no request in a cohort has a value of {self.metric!r}"

    def hint(self) -> str:
        return (
            "There are right (needs outcomes), default, waited_ms, and the fields of outcomes; "
            "--on names the field of the answers that is held against them."
        )
