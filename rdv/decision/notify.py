"""Declare the [notify] section of an rdv.toml: webhooks that are called with events."""

from __future__ import annotations

import re
from typing import Annotated, Literal
from urllib.parse import urlsplit

import msgspec

from rdv.codes import EventKind
from rdv.decision.sections import MS, on_serve

_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")


class Webhook(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Configures one webhook: [notify.webhooks.NAME]."""

    url: Annotated[str, on_serve("Address to which each event is posted")] = ""
    url_from: Annotated[
        str, on_serve("Or the environment variable that has it, if it is a secret itself")
    ] = ""
    kinds: Annotated[
        list[EventKind],
        on_serve('Kinds of events: ["process_ended", "schedule_changed"]; empty: all'),
    ] = []
    format: Annotated[
        Literal["json", "slack"],
        on_serve('Body: "json": the event as rdv events --json; "slack": {"text": ...}'),
    ] = "json"
    headers_from: Annotated[
        dict[str, str],
        on_serve('Headers, with the environment variables of their values: { "X-Key" = "MY_KEY" }'),
    ] = {}
    secret_from: Annotated[
        str, on_serve("Environment variable of the secret that signs X-Hub-Signature-256")
    ] = ""
    timeout_ms: Annotated[int, on_serve("Time limit for a whole call", *MS)] = 5_000
    attempts_max: Annotated[
        int, on_serve("How often an event is sent before it is given up", 1, 1_000)
    ] = 10
    age_max_ms: Annotated[
        int, on_serve("Age from which on an event is not sent any more", 1_000, 30 * 86_400_000)
    ] = 3_600_000

    def __post_init__(self) -> None:
        if bool(self.url) == bool(self.url_from):
            raise ValueError("needs url or url_from")
        if self.url and (reason := url_fault(self.url)):
            raise ValueError(f"url {reason}")

    @property
    def env(self) -> tuple[str, ...]:
        """The environment variables that it needs."""
        return tuple(filter(None, [self.url_from, self.secret_from, *self.headers_from.values()]))


class Notify(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Configures to which addresses events (`rdv events`) are posted."""

    webhooks: Annotated[
        dict[str, Webhook],
        on_serve("Webhooks by name, each a table [notify.webhooks.NAME] with url, kinds ..."),
    ] = {}

    def __post_init__(self) -> None:
        for name in self.webhooks:
            if not _NAME.fullmatch(name):
                raise ValueError(f"{name!r} is no name: letters, digits, - and _")

    @property
    def env(self) -> tuple[str, ...]:
        """The environment variables that the webhooks need."""
        return tuple(dict.fromkeys(name for hook in self.webhooks.values() for name in hook.env))


def url_fault(url: str) -> str:
    """Return what is wrong with the address of a webhook, without it; empty if nothing is."""
    try:
        parts = urlsplit(url)
        is_usable = parts.scheme in ("http", "https") and bool(parts.hostname)
        _ = parts.port
    except ValueError:  # its text may show a part of the address, which may be a secret
        is_usable = False
    return "" if is_usable else 'is no address like "https://hooks.example/rdv"'
