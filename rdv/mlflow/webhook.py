"""Accepts webhooks of an MLflow server: a moved alias is then noticed at once.

A webhook says only that something has changed: what it has changed to is asked of the registry.
With MLFLOW_WEBHOOK_SECRET in the environment, those with another signature are refused.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import hmac
import threading
import time
from collections.abc import Callable, Iterator, Mapping

from rdv.errors import SystemFault
from rdv.http import Access, Failure, HttpServer, Limits, Request, Router

PATHS = ("/", "/v1/mlflow")
BODY_BYTES_MAX = 256 * 1024
AGE_MAX_S = 300.0
START_S = 10.0
_SIGNATURE, _TIME, _ID = b"x-mlflow-signature", b"x-mlflow-timestamp", b"x-mlflow-delivery-id"


class WebhookPortTaken(SystemFault):
    """The port for webhooks cannot be listened on."""

    address: str
    reason: str

    _text = "webhooks cannot be accepted at {address}: {reason}"
    _hint = "See webhook_port in [mlflow] of rdv.toml."


def is_signed(headers: Mapping[bytes, bytes], body: bytes, secret: str, now_s: float) -> bool:
    """Return whether a webhook is signed with the secret, and not older than AGE_MAX_S. Pure."""
    try:
        sent_s = int(headers.get(_TIME, b""))
    except ValueError:
        return False
    if abs(now_s - sent_s) > AGE_MAX_S:
        return False
    content = b"%b.%b.%b" % (headers.get(_ID, b""), headers[_TIME], body)
    digest = hmac.new(secret.encode(), content, hashlib.sha256).digest()
    wanted = b"v1," + base64.b64encode(digest)
    return any(hmac.compare_digest(wanted, one) for one in headers.get(_SIGNATURE, b"").split())


def application(secret: str, poke: Callable[[], None]) -> Router:
    """Return the routes: a POST that is signed, if there is a secret, calls `poke`."""

    def accept(request: Request) -> None:
        if secret and not is_signed(request.headers, request.body, secret, time.time()):
            reason = "the signature does not fit MLFLOW_WEBHOOK_SECRET, or is too old"
            request.fail(Failure(401, "webhook_not_signed", reason))
            return
        poke()
        request.respond(202, b'{"accepted":true}')

    return Router({path: {"POST": accept} for path in PATHS})


@contextlib.contextmanager
def serve_webhook(
    host: str, port: int, secret: str, poke: Callable[[], None]
) -> Iterator[tuple[str, int]]:
    """Accept webhooks in a thread for the time of a block; yield the address.

    Raises WebhookPortTaken.
    """
    loop = asyncio.new_event_loop()
    limits = Limits(body_bytes_max=BODY_BYTES_MAX)
    server = HttpServer(application(secret, poke), limits, Access())
    try:
        address = loop.run_until_complete(server.start(host, port))
    except OSError as error:
        loop.close()
        raise WebhookPortTaken(f"{host}:{port}", error.strerror or str(error)) from None
    thread = threading.Thread(target=loop.run_forever, name="rdv-webhook", daemon=True)
    thread.start()
    try:
        yield address
    finally:
        asyncio.run_coroutine_threadsafe(server.drain(0.5), loop).result(START_S)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(START_S)
        if not thread.is_alive():
            loop.close()
