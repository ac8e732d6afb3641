"""The module reads the latest requests of a decision's input stream, as bodies to send again.

It reads the files as text, without opening the stream, so nothing in the directory is created,
locked or notified. Lines that are torn or damaged are left out.
"""

from __future__ import annotations

import glob
import os

import msgspec

from rdv.messages import MalformedMessage, Request, decode_request
from rdv.stream.file.layout import VALUES_SUFFIX

ROWS_MAX = 5_000
_TAIL_BYTES = 8 * 1024 * 1024
_FILES_MAX = 64


class _Body(msgspec.Struct, omit_defaults=True):
    data: msgspec.Raw
    key: str | None = None
    schedule: str | dict[str, object] | None = None


def recorded_bodies(input_stream: str) -> list[bytes]:
    """Return the bodies of the latest requests, oldest first; empty if there are none.

    Their data is as the models saw it, including what an enricher has added.
    """
    files = glob.glob(f"{glob.escape(input_stream)}/*/*/*{VALUES_SUFFIX}")
    requests: list[Request] = []
    for path in sorted(files, key=_changed, reverse=True)[:_FILES_MAX]:
        requests += _requests(path)
        if len(requests) >= ROWS_MAX:
            break
    requests.sort(key=lambda request: request.time_ns)
    return [_body(request) for request in requests[-ROWS_MAX:]]


def _changed(path: str) -> float:
    try:
        return os.path.getmtime(path)
    except OSError:
        return 0.0


def _requests(path: str) -> list[Request]:
    try:
        with open(path, "rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - _TAIL_BYTES))
            lines = file.read(_TAIL_BYTES).split(b"\n")
    except OSError:  # retention has deleted it
        return []
    found = []
    for line in lines[-ROWS_MAX:]:
        try:
            found.append(decode_request(line))
        except MalformedMessage:
            continue
    return found


def _body(request: Request) -> bytes:
    # A schedule of a cohort is chosen by the proxy.
    schedule = request.schedule if request.cohort is None else None
    return msgspec.json.encode(_Body(request.data, request.key, schedule))
