"""Limit the resources of a load run; its errors."""

from __future__ import annotations

from dataclasses import dataclass, fields

from rdv.errors import InputFault


class InvalidThreshold(InputFault):
    """A `--fail-if` cannot be parsed."""

    given: str
    reason: str

    _text = "{given!r} is not a threshold: {reason}"
    _hint = "For example p99>50ms, mean>=2ms, errors>0, misses>0.1%, default>5%."


class InvalidLoad(InputFault):
    """A setting of a load run cannot be used."""

    key: str
    reason: str

    _text = "{key}: {reason}"


@dataclass(frozen=True)
class LoadLimits:
    """Limits the resources that a run may use. Raises InvalidLoad."""

    connections_max: int = 256
    """The maximum size of the pool; then requests queue, with their scheduled time kept."""

    connecting_max: int = 32
    """The maximum number of connections that are being made at the same time."""

    queue_max: int = 100_000
    """The maximum number of requests that wait for a connection; more are failed as "overflow"."""

    timeout_ms: int = 10_000
    """No answer after this time from the actual send, or no connection: failed."""

    def __post_init__(self) -> None:
        for field in fields(self):
            if getattr(self, field.name) < 1:
                raise InvalidLoad(field.name, f"{getattr(self, field.name)} is less than 1")
