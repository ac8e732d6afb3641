"""Who asks: the one place that says which client an HTTP request comes from."""

from __future__ import annotations

from rdv.http import Request as HttpRequest


def client_of(http: HttpRequest) -> str:
    """The client's address (of IPv6 its /64 network), or what a trusted proxy says it is."""
    return http.client
