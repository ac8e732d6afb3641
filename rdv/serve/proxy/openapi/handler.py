"""Answers /openapi.json and /docs; both are made anew when the settings have changed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import orjson

from rdv.decision.accepted import Accepted
from rdv.decision.schema_check import read_tree
from rdv.http import Request as HttpRequest
from rdv.http.authority import host_port, reachable_host
from rdv.oip.metadata import input_tensors
from rdv.serve.proxy.oip import columns_of
from rdv.serve.proxy.openapi.document import Facts, document_of
from rdv.serve.proxy.openapi.page import POLICY, page_of

EXAMPLE_BYTES_MAX = 65_536


class OpenApiHandler:
    """For the loop's thread."""

    def __init__(self, accepted: Callable[[], Accepted]) -> None:
        """`accepted` returns the settings in force."""
        self._accepted = accepted
        self._of: Accepted | None = None
        self._document: dict[str, Any] = {}

    def document(self) -> dict[str, Any]:
        """Return the document of the settings in force."""
        accepted = self._accepted()
        if accepted is not self._of:
            self._of, self._document = accepted, document_of(facts_of(accepted))
        return self._document

    def serve_json(self, http: HttpRequest) -> None:
        """Handle `GET /openapi.json`."""
        http.respond(200, orjson.dumps(self.document()))

    def serve_page(self, http: HttpRequest) -> None:
        """Handle `GET /docs`."""
        where = self._accepted().decision.http
        given = http.header(b"host").decode("latin-1")
        address = f"http://{given or host_port(reachable_host(where.host), where.port)}"
        page = page_of(self.document(), address).encode()
        headers = ((b"Content-Security-Policy", POLICY), (b"X-Content-Type-Options", b"nosniff"))
        http.respond(200, page, content_type=b"text/html; charset=utf-8", headers=headers)


def facts_of(accepted: Accepted) -> Facts:
    """Return what the document says of the decision with these settings."""
    decision = accepted.decision
    return Facts(
        decision.name,
        sorted(accepted.schedules),
        [name for name, model in decision.models.items() if model.scores and not model.builtin],
        accepted.live.default,
        read_tree(accepted.schema) if accepted.schema else None,
        example_of(decision.path("requests.jsonl")),
        decision.http.rows_max,
        input_tensors(columns_of(accepted.schema)),
    )


def example_of(path: str) -> object:
    """Return the data of the first sample request; an empty object where there is none."""
    try:
        with open(path, "rb") as file:
            return orjson.loads(file.readline(EXAMPLE_BYTES_MAX))["data"]
    except (OSError, ValueError, KeyError, TypeError):
        return {}
