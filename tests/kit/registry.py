"""A small MLflow server over real sockets: a registry, and its artifact proxy."""

from __future__ import annotations

import json
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

MLMODEL = b"flavors:\n  python_function:\n    loader_module: shop\n"
ARTIFACTS = "/api/2.0/mlflow-artifacts/artifacts"


class FakeRegistry:
    """Holds one registered model, `fraud`: versions with their files, aliases, and tags."""

    def __init__(self) -> None:
        self.versions: dict[str, dict[str, bytes]] = {}
        self.sizes: dict[str, int] = {}
        """Sizes that the listing claims, by file name, where they are not true."""
        self.listing: list[dict[str, Any]] | None = None
        self.aliases: dict[str, str] = {}
        self.tags: dict[str, dict[str, str]] = {}
        self.source = "mlflow-artifacts:/0/fraud/{version}"
        self.token = ""
        self.status: int | None = None
        """Answer everything with this status."""
        self.body: bytes | None = None
        """Answer everything with this."""
        self.stamp = "1"
        self.requests: list[str] = []
        self.headers: list[dict[str, str]] = []
        self.url = ""

    def add(self, version: str, files: dict[str, bytes] | None = None) -> None:
        self.versions[version] = {"MLmodel": MLMODEL} if files is None else files

    def answer(  # noqa: PLR0911 - one return for each call
        self, method: str, path: str, query: dict[str, str], body: Any
    ) -> tuple[int, Any]:
        if self.status is not None:
            return self.status, {"error_code": "INTERNAL_ERROR", "message": "out of order"}
        if self.body is not None:
            return 200, self.body
        if path == ARTIFACTS:
            return 200, {"files": self._list(query["path"])}
        if path.startswith(ARTIFACTS):
            _, _, version, name = unquote(path.removeprefix(f"{ARTIFACTS}/")).split("/", 3)
            return 200, self.versions[version][name]
        call = path.removeprefix("/api/2.0/mlflow/")
        if call == "registered-models/alias" and method == "GET":
            version = self.aliases.get(query["alias"])
            if version is None:
                text = f"Registered model alias {query['alias']} not found."
                return 400, {"error_code": "INVALID_PARAMETER_VALUE", "message": text}
            return 200, {"model_version": self._version(version)}
        if call == "registered-models/alias":
            self.aliases[body["alias"]] = body["version"]
            return 200, {}
        if call == "model-versions/set-tag":
            self.tags.setdefault(body["version"], {})[body["key"]] = body["value"]
            return 200, {}
        if query.get("version") not in self.versions:
            return 404, {"error_code": "RESOURCE_DOES_NOT_EXIST", "message": "no such version"}
        if call == "model-versions/get":
            return 200, {"model_version": self._version(query["version"])}
        return 200, {"artifact_uri": self.source.format(version=query["version"])}

    def _version(self, version: str) -> dict[str, Any]:
        return {"version": version, "creation_timestamp": self.stamp, "status": "READY"}

    def _list(self, path: str) -> list[dict[str, Any]]:
        if self.listing is not None:
            return self.listing
        _, _, version, *folders = path.split("/")
        prefix = "".join(f"{one}/" for one in folders)
        found: dict[str, dict[str, Any]] = {}
        for name, data in self.versions[version].items():
            if name.startswith(prefix):
                first, slash, _ = name.removeprefix(prefix).partition("/")
                size = self.sizes.get(name, len(data))
                found[first] = {"path": first, "is_dir": bool(slash), "file_size": size}
        return list(found.values())


@contextmanager
def fake_registry(context: ssl.SSLContext | None = None) -> Iterator[FakeRegistry]:
    """Serve a registry for the time of a block, with TLS if there is a context."""
    registry = FakeRegistry()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self._answer()

        def do_POST(self) -> None:
            self._answer()

        def _answer(self) -> None:
            parts = urlsplit(self.path)
            registry.requests.append(f"{self.command} {parts.path}")
            registry.headers.append({k.lower(): v for k, v in self.headers.items()})
            query = {key: values[0] for key, values in parse_qs(parts.query).items()}
            raw = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            body = json.loads(raw) if raw else None
            if registry.token and self.headers.get("Authorization") != f"Bearer {registry.token}":
                status, found = 401, {}
            else:
                status, found = registry.answer(self.command, parts.path, query, body)
            data = found if isinstance(found, bytes) else json.dumps(found).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    scheme = "http"
    if context is not None:
        # The handshake is for the thread of the connection: a client may break it off.
        server.socket = context.wrap_socket(
            server.socket, server_side=True, do_handshake_on_connect=False
        )
        server.handle_error = lambda *_: None  # type: ignore[method-assign]
        scheme = "https"
    registry.url = f"{scheme}://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield registry
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


SCHEDULE = """
sla_ms = 1000
default = "late"
[[step]]
accept = ["gbm"]
"""


def write_decision(
    place: Path, mlflow: str = "", model: str = 'path = "models:/fraud@champion"'
) -> None:
    """Write an rdv.toml with one model of a registry."""
    (place / "rdv.toml").write_text(f"[mlflow]\n{mlflow}\n[models.gbm]\n{model}\n")
