"""Identifies the client of an HTTP request, in this one place."""

from __future__ import annotations

from rdv.http import Request as HttpRequest


def client_of(http: HttpRequest) -> str:
    """Return the client's address (for IPv6 its /64 network), or the one a trusted proxy names."""
    return http.client
