"""Write the OpenAPI document as a page that needs no script and no other host. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape
from typing import Any

import orjson

Json = dict[str, Any]

POLICY = b"default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
"""The Content-Security-Policy of the page."""

_STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem }
code, pre { font: 14px/1.4 ui-monospace, monospace }
pre { background: #8881; padding: .75rem; overflow-x: auto; border-radius: 4px }
table { border-collapse: collapse; width: 100% }
th, td { text-align: left; vertical-align: top; padding: .25rem .75rem .25rem 0;
  border-top: 1px solid #8883 }
h2 { margin-top: 2.5rem } summary { cursor: pointer }
:root { color-scheme: light dark }
"""


def page_of(document: Json, address: str) -> str:
    """Return the page; `address` is the base of the URLs in its examples."""
    return "\n".join(_lines(document, address))


def _lines(document: Json, address: str) -> Iterator[str]:
    info = document["info"]
    yield f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{_text(info["title"])}'
    yield f'</title><meta name="viewport" content="width=device-width"><style>{_STYLE}</style>'
    yield f"<h1>{_text(info['title'])}</h1><p>{_text(info['description'])}</p>"
    yield '<p>For programs: <a href="/openapi.json">openapi.json</a> (OpenAPI 3.1).</p>'
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield from _operation(path, method, operation, address)
    yield "<h2>Schemas</h2>"
    for name, schema in document["components"]["schemas"].items():
        yield f'<h3 id="{_text(name)}">{_text(name)}</h3>'
        yield from _schema(schema)


def _operation(path: str, method: str, operation: Json, address: str) -> Iterator[str]:
    yield f"<h2><code>{method.upper()} {_text(path)}</code></h2><p>{_text(operation['summary'])}"
    if body := operation.get("requestBody"):
        content = body["content"]["application/json"]
        yield f"<p>Body: {_reference(content['schema'])}"
        if example := content.get("example"):
            data = orjson.dumps(example).decode()
            quoted = data.replace("'", "'\\''")
            yield f"<pre>curl -s {_text(address + path)} -d '{_text(quoted)}'</pre>"
    yield "<details><summary>Answers</summary><table><tr><th>Status<th>Meaning<th>Body"
    for status, answer in operation["responses"].items():
        schema = answer["content"]["application/json"]["schema"]
        yield f"<tr><td>{status}<td>{_text(answer['description'])}<td>{_reference(schema)}"
    yield "</table></details>"


def _schema(schema: Json) -> Iterator[str]:
    if not (properties := schema.get("properties")):
        yield f"<pre>{_text(_pretty(schema))}</pre>" if schema else "<p>Any JSON."
        return
    yield "<table><tr><th>Field<th>Type<th>Meaning"
    for name, inner in properties.items():
        needed = " (required)" if name in schema.get("required", ()) else ""
        text = _text(inner.get("description", ""))
        yield f"<tr><td><code>{_text(name)}</code>{needed}<td>{_reference(inner)}<td>{text}"
    yield "</table>"


def _reference(schema: Json) -> str:
    """Return what a value is in a few words, with links to the schemas that have a name."""
    if target := schema.get("$ref"):
        name = _text(target.rpartition("/")[2])
        return f'<a href="#{name}">{name}</a>'
    for kind in ("oneOf", "anyOf"):
        if choices := schema.get(kind):
            return " or ".join(_reference(choice) for choice in choices)
    kinds = schema.get("type", "any JSON")
    text = kinds if isinstance(kinds, str) else " or ".join(kinds)
    if isinstance(items := schema.get("items"), dict):
        return f"{_text(text)} of {_reference(items)}"
    return _text(text)


def _pretty(value: object) -> str:
    return orjson.dumps(value, option=orjson.OPT_INDENT_2).decode()


def _text(value: object) -> str:
    return escape(str(value), quote=True)
