"""The text of `/metrics`, in Prometheus' own form or as OpenMetrics, by what is asked for."""

from __future__ import annotations

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder

from rdv.console.collector import ConsoleCollector
from rdv.console.console import Console


def exposition(console: Console, accept: str) -> tuple[bytes, str]:
    """Return the metrics and their content type, for a request's Accept header."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(ConsoleCollector(console))
    encode, content_type = choose_encoder(accept)
    return encode(registry), content_type
