"""A load run has limits on its resources."""

from __future__ import annotations

from dataclasses import dataclass, fields

from rdv.loadgen.errors import InvalidLoad


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
