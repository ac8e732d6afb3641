"""These functions check addresses of streams, and names of topics and groups."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from rdv.stream.errors import InvalidAddress, InvalidName

NAME_LENGTH_MAX = 200
RESERVED_NAME = "stream.toml"
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*", re.ASCII)


@dataclass(frozen=True)
class Address:
    """An `Address` says where a stream is: `scheme` names the backend, `place` its path or name."""

    scheme: Literal["file", "memory", "kafka"]
    place: str
    topic: str | None = None


def parse_address(text: str, *, with_topic: bool = False) -> Address:
    """Parse `PATH`, `memory:NAME` or `kafka://…`; `with_topic` also parses `…:TOPIC`.

    A path that holds a colon must be written with a trailing one (`odd:path:`) when a topic may
    follow. Raises InvalidAddress or InvalidName.
    """
    if not text or "\0" in text:
        raise InvalidAddress(text, "it is empty" if not text else "it contains a NUL byte")
    if text.startswith("kafka://"):
        return Address("kafka", text.removeprefix("kafka://"))
    scheme: Literal["file", "memory"] = "file"
    rest = text
    if text.startswith("memory:"):
        scheme, rest = "memory", text.removeprefix("memory:")
    topic: str | None = None
    if with_topic and ":" in rest:
        rest, _, topic = rest.rpartition(":")
        topic = check_name(topic, "topic") if topic else None
    if not rest:
        raise InvalidAddress(text, "the path is missing" if scheme == "file" else "name missing")
    return Address(scheme, rest, topic)


def check_name(name: str, kind: Literal["topic", "group"]) -> str:
    """Return `name` when it may name a topic or a group; raises InvalidName when not.

    Names become directory names, so they cannot leave the stream's directory or hide in it.
    """
    if not name:
        raise InvalidName(kind, name, "it is empty")
    if len(name) > NAME_LENGTH_MAX:
        raise InvalidName(kind, name, f"it is longer than {NAME_LENGTH_MAX} characters")
    if not _NAME.fullmatch(name):
        raise InvalidName(kind, name, "it has a character, or a first character, not allowed")
    if name == RESERVED_NAME:
        raise InvalidName(kind, name, "it is the name of the stream's settings")
    return name
