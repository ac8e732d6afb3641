"""Who asks: the one place that says which client an HTTP request comes from."""

from __future__ import annotations

from rdv.http import Request as HttpRequest


def client_of(http: HttpRequest) -> str:
    """The client's address, as the HTTP server knows it."""
    return http.peer
