"""Ask a server once whether it is there, before it is declared as a model. Blocks."""

from __future__ import annotations

import os
import selectors
import time
from collections.abc import Mapping
from typing import Any

from rdv.models.model import ModelNotLoaded
from rdv.models.remote.breaker import Breaker
from rdv.models.remote.connection import Connection, ConnectionFailed, Response
from rdv.models.remote.protocols import BadAnswer, make_codec
from rdv.models.remote.replica import Replica, message
from rdv.models.remote.settings import InvalidRemote, headers_of, places_of, settings_of
from rdv.models.remote.verdict import verdict_of

TIMEOUT_S = 10.0


def check_server(
    name: str,
    values: Mapping[str, Any],
    environ: Mapping[str, str] | None = None,
    timeout_s: float = TIMEOUT_S,
) -> None:
    """Ask each replica for the model's metadata, else for its health, else connect to it.

    `values` are those of `Settings`. Raises ModelNotLoaded with what the server has said.
    """
    try:
        settings = settings_of(values)
        headers = headers_of(settings, os.environ if environ is None else environ)
        places = places_of(settings.http)
    except InvalidRemote as error:
        raise ModelNotLoaded(name, "http", str(error)) from None
    codec = make_codec(name, settings, settings.answer_bytes_max)
    path = codec.metadata_path or codec.health_path
    for place in places:
        where = str(place)
        try:
            replica = Replica(place, settings.ca_file, settings.answer_bytes_max, Breaker())
            replica.look_up(time.monotonic_ns(), timeout_s)
            connection = replica.new_connection(time.monotonic_ns())
            asked = message(place, "GET", path, headers) if path else b""
            response = _exchange(connection, asked, timeout_s)
            if response is None:
                continue
            verdict = verdict_of(response)
            if verdict.kind != "answer":
                raise ModelNotLoaded(name, where, f"GET {path} says {verdict.text}")
            if codec.metadata_path:
                codec.learn(response.body)
        except (ConnectionFailed, BadAnswer) as error:
            raise ModelNotLoaded(name, where, str(error)) from None
        except OSError as error:
            reason = f"ca_file {settings.ca_file!r} cannot be used: {error.strerror or error}"
            raise ModelNotLoaded(name, where, reason) from None


def _exchange(connection: Connection, asked: bytes, timeout_s: float) -> Response | None:
    """Send a request and wait for its answer; without a request only connect.

    Raises ConnectionFailed.
    """
    until_s = time.monotonic() + timeout_s
    if asked:
        connection.send(asked)
    try:
        while asked or not connection.is_connected:
            with selectors.DefaultSelector() as selector:
                selector.register(connection.socket.fileno(), connection.wanted)
                selector.select(max(0.0, until_s - time.monotonic()))
            if time.monotonic() >= until_s:
                raise ConnectionFailed(f"no answer within {timeout_s:g} s")
            if (response := connection.step()) is not None:
                return response
        return None
    finally:
        connection.close()
