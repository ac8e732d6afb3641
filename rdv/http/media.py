"""Checks media types of bodies (RFC 9110, 8.3). Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple

from rdv.http.failure import Failure

JSON_TYPE = "application/json"
FORM_TYPE = "application/x-www-form-urlencoded"
"""The default type of `curl -d`. Any web page may send it without a preflight."""

_TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
_QUOTED = rb'"(?:[\t \x21\x23-\x5b\x5d-\x7e\x80-\xff]|\\[\t \x21-\x7e\x80-\xff])*"'
_TYPE = re.compile(rb"(%b)/(%b)" % (_TOKEN, _TOKEN))
_PARAMETER = re.compile(rb"[ \t]*;[ \t]*(?:(%b)=(%b|%b))?" % (_TOKEN, _TOKEN, _QUOTED))
_ESCAPE = re.compile(rb"\\(.)", re.DOTALL)
_UTF_8 = frozenset({b"utf-8", b"utf8"})


class MediaType(NamedTuple):
    """Holds a parsed Content-Type: `type/subtype` in lower case, and its parameters."""

    name: str
    parameters: Mapping[str, bytes]
    """Names are in lower case, values without quotes."""


def parse_media_type(value: bytes) -> MediaType | None:
    """Parse a Content-Type; return None when it is invalid, or has a parameter twice."""
    matched = _TYPE.match(value)
    if matched is None:
        return None
    parameters: dict[str, bytes] = {}
    at = matched.end()
    while at < len(value):
        found = _PARAMETER.match(value, at)
        if found is None:
            return None
        at = found.end()
        if found[1] is None:
            continue
        name, text = found[1].decode().lower(), found[2]
        if name in parameters:
            return None
        parameters[name] = _ESCAPE.sub(rb"\1", text[1:-1]) if text[:1] == b'"' else text
    return MediaType(matched[0].decode().lower(), parameters)


def json_fault(headers: Mapping[bytes, bytes]) -> Failure | None:
    """Return why the body of a request with these headers is not accepted as JSON, or None.

    A request without an Origin (which a web page cannot send) may omit the type, or use the default
    of `curl -d`.
    """
    value = headers.get(b"content-type")
    is_page = b"origin" in headers or b"sec-fetch-site" in headers
    if value is None:
        missing = "a web page has to send Content-Type: application/json"
        return _refused("", missing) if is_page else None
    shown = value[:100].decode("latin-1")
    kind = parse_media_type(value)
    if kind is None:
        return _refused(shown, f"{shown!r} is no media type: send application/json")
    if kind.name == FORM_TYPE and not kind.parameters and not is_page:
        return None
    if kind.name != JSON_TYPE:
        return _refused(shown, f"send application/json, not {shown}")
    charset = kind.parameters.get("charset", b"utf-8")
    if charset.lower() not in _UTF_8:
        return _refused(shown, f"JSON is UTF-8: send it without {shown.partition(';')[2].strip()}")
    return None


def _refused(content_type: str, message: str) -> Failure:
    fields = {"content_type": content_type, "expected": JSON_TYPE}
    return Failure(415, "unsupported_media_type", message, fields)
