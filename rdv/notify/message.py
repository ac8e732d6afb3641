"""Make the body and the headers of a webhook's call. Pure."""

from __future__ import annotations

import hashlib
import hmac
import os
import re

import msgspec

import rdv
from rdv.decision.events import Event, row_of, sound

USER_AGENT = f"rdv/{rdv.__version__}"
_ESCAPED = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}
"""The characters that Slack gives a meaning."""
_MENTION = re.compile(r"(?<!\w)@|@(?=(?:channel|all|here|everyone)\b)", re.IGNORECASE)
"""What Mattermost and others may take for a mention; a label such as production@1a2b is none."""


def json_body(decision: str, event: Event) -> bytes:
    """Return the event as `rdv events --json` prints it, with the decision's name."""
    return msgspec.json.encode({"decision": sound(decision), **row_of(event)})


def slack_body(decision: str, event: Event) -> bytes:
    """Return a message that Slack, Mattermost and others take; it mentions no user or channel."""
    text = event.message
    if event.last_line:
        text += f": {event.last_line}"
    if event.by and event.by not in text:
        text += f" (by {event.by})"
    text = f"*{sound(decision)}* {event.kind.replace('_', ' ')}: {text}"
    text = "".join(_ESCAPED.get(char, char) for char in text)
    return msgspec.json.encode({"text": _MENTION.sub("@\u200b", text)})


def headers_of(event: Event, body: bytes, secret: str) -> dict[str, str]:
    """Return the headers of a call; the signature is as that of GitHub's webhooks."""
    headers = {
        "Content-Type": "application/json",
        "User-Agent": USER_AGENT,
        "X-Rdv-Event": event.kind,
        "X-Rdv-Delivery": event.id,
    }
    if secret:
        digest = hmac.new(os.fsencode(secret), body, hashlib.sha256).hexdigest()
        headers["X-Hub-Signature-256"] = f"sha256={digest}"
    return headers
