"""rdv implements the Rendezvous Architecture for machine learning in production.

    rdv.Client, rdv.AsyncClient   ask a running decision over HTTP
    rdv.open                      read what a decision has recorded, and study it
    rdv.local                     decide in this process, without a server
    rdv.RdvError                  the root of all errors that rdv raises on purpose

Importing this package is light: a name is loaded when it is first used.
"""

from __future__ import annotations

TYPE_CHECKING = False  # for mypy and IDEs it is true; `typing` would be the largest import

if TYPE_CHECKING:
    from typing import Any

    from rdv.client.answer import Answer as Answer
    from rdv.client.async_client import AsyncClient as AsyncClient
    from rdv.client.client import Client as Client
    from rdv.client.errors import ClientError as ClientError
    from rdv.client.errors import InvalidCall as InvalidCall
    from rdv.client.errors import NoAnswer as NoAnswer
    from rdv.client.errors import RequestRefused as RequestRefused
    from rdv.embedded.local import Local as Local
    from rdv.embedded.local import local as local
    from rdv.errors import RdvError as RdvError

__version__ = "0.2.0"

_PLACES = {
    "Answer": "rdv.client.answer",
    "AsyncClient": "rdv.client.async_client",
    "Client": "rdv.client.client",
    "ClientError": "rdv.client.errors",
    "InvalidCall": "rdv.client.errors",
    "Local": "rdv.embedded.local",
    "NoAnswer": "rdv.client.errors",
    "RdvError": "rdv.errors",
    "RequestRefused": "rdv.client.errors",
    "local": "rdv.embedded.local",
}

__all__ = [*_PLACES, "__version__"]  # noqa: PLE0604 - the names of a table


def __getattr__(name: str) -> Any:
    """Load a public name when it is first used."""
    place = _PLACES.get(name)
    if place is None:
        raise AttributeError(f"module 'rdv' has no attribute {name!r}")
    import importlib

    found = globals()[name] = getattr(importlib.import_module(place), name)
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *_PLACES})
