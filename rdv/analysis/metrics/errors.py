"""The errors of metric names."""

from __future__ import annotations

from dataclasses import dataclass

from rdv.errors import InputFault, did_you_mean


@dataclass(eq=False)
class UnknownMetric(InputFault):
    """There is no metric of this name."""

    name: str
    known: tuple[str, ...]

    _text = "there is no metric {name!r}"

    def hint(self) -> str:
        near = did_you_mean(self.name, self.known)
        return f"{near} There are {', '.join(self.known)}.".lstrip()


@dataclass(eq=False)
class InvalidMetric(InputFault):
    """The metric exists, but the setting behind the @ in its name cannot be used."""

    name: str
    reason: str
    example: str

    _text = "metric {name!r}: {reason}"
    _hint = "For example: {example}"


@dataclass(eq=False)
class NoSequence(InputFault):
    """The metric is not a mean over requests, so that there is no always-valid sequence of it."""

    name: str

    _text = "{name} is not a mean over requests: there is no interval that holds at all looks"
    _hint = "Declare how many looks there will be, and spread the level over them (looks)."
