"""rdv implements the Rendezvous Architecture for machine learning in production.

    rdv.Client, rdv.AsyncClient   ask a running decision over HTTP
    rdv.open                      read what a decision has recorded, and study it
    rdv.local                     decide in this process, without a server
    rdv.InputError                what a model raises when the input is at fault
    rdv.RdvError                  the root of all errors that rdv raises on purpose

Importing this package is light: a name is loaded when it is first used. `__init__.pyi` names them
for mypy and IDEs.
"""

from __future__ import annotations

__version__ = "0.2.0"

_PLACES = {
    "Answer": "rdv.client.answer",
    "AsyncClient": "rdv.client.async_client",
    "Client": "rdv.client.client",
    "ClientError": "rdv.client.errors",
    "InputError": "rdv.errors",
    "InvalidCall": "rdv.client.errors",
    "Local": "rdv.embedded.local",
    "NoAnswer": "rdv.client.errors",
    "OpenDecision": "rdv.api.opened",
    "RdvError": "rdv.errors",
    "RequestRefused": "rdv.client.errors",
    "Table": "rdv.api.table",
    "local": "rdv.embedded.local",
    "open": "rdv.api.opened",
}

__all__ = [*_PLACES, "__version__"]  # noqa: PLE0604 - the names of a table


def __getattr__(name: str) -> object:
    """Load a public name when it is first used."""
    place = _PLACES.get(name)
    if place is None:
        raise AttributeError(f"module 'rdv' has no attribute {name!r}")
    import importlib

    found = globals()[name] = getattr(importlib.import_module(place), name)
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *_PLACES})
