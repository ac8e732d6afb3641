"""Deliver events to one webhook: in order, at least once, with retries, and never without end."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import random
import re
import threading
import time
from collections.abc import Callable, Mapping

import httpx
import msgspec

from rdv.coded import coded
from rdv.decision.decision import RUN_DIRECTORY, Decision
from rdv.decision.edit import replace_file
from rdv.decision.events import Event, EventReader, place_of
from rdv.decision.notify import Webhook, url_fault
from rdv.errors import RdvError
from rdv.notify.message import headers_of, json_body, slack_body

log = logging.getLogger("rdv.notify")

WAIT_S = 1.0
RETRY_S, RETRY_MAX_S = 1.0, 60.0
"""The delay after the first failed call, and the longest one; they double."""

_AGAIN = frozenset((408, 425, 429))
"""The statuses besides 5xx after which a call is repeated."""

_HEADER = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")


class _NotTaken(Exception):
    """A call has failed; `is_final` if another one would fail in the same way."""

    def __init__(self, reason: str, *, is_final: bool = False, after_s: float = 0.0) -> None:
        super().__init__(reason)
        self.is_final, self.after_s = is_final, after_s


class Delivery:
    """Posts the events to a webhook from a thread of its own.

    The log is its queue. Which event comes next is saved after each one, so that a killed process
    goes on there: the one that was in flight is sent again, with the same id (X-Rdv-Delivery).
    """

    def __init__(
        self,
        decision: Decision,
        name: str,
        webhook: Webhook,
        environ: Mapping[str, str],
        failed: Callable[[], None] = lambda: None,
    ) -> None:
        """`failed` is called from the thread when it ends by an error that nothing handles."""
        self._decision, self._name, self._webhook = decision, name, webhook
        self._environ = environ
        self._failed = failed
        self._path = decision.path(RUN_DIRECTORY, "notify", f"{name}.json")
        self._positions = _read_positions(self._path)
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"rdv-notify-{name}", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self, timeout_s: float) -> None:
        """Stop after the call in flight, or after `timeout_s`."""
        self._stopping.set()
        self._thread.join(timeout_s)

    def _run(self) -> None:
        try:
            self._send()
        except BaseException:  # a bug, which the hook of threads shows
            self._failed()
            raise

    def _send(self) -> None:
        """Send events until `stop`; none with settings that cannot be used."""
        url = self._webhook.url or self._environ.get(self._webhook.url_from, "").strip()
        missing = [name for name in self._webhook.env if not self._environ.get(name, "").strip()]
        if missing:
            fault = f"environment variable {missing[0]} is not set"
        else:
            fault = self._address_fault(url) or self._header_fault()
        if fault:
            self._warn(f"{fault}; nothing is sent until the next rdv serve")
            return
        while not self._stopping.is_set():
            try:
                self._follow(url)
            except RdvError as error:
                self._warn(f"cannot read the events: {error.text()}")
                self._stopping.wait(RETRY_MAX_S)

    def _address_fault(self, url: str) -> str:
        """Return what is wrong with the address, which may be a secret; empty if nothing is."""
        fault = url_fault(url)
        if fault and self._webhook.url_from:
            return f"environment variable {self._webhook.url_from} {fault}"
        return fault

    def _header_fault(self) -> str:
        """Return what is wrong with a header, without its value; empty if nothing is."""
        for header, variable in self._webhook.headers_from.items():
            if not _HEADER.fullmatch(header):
                return f"headers_from: {header!r} is no name of a header"
            value = self._environ[variable].strip()
            if not (value.isascii() and value.isprintable()):
                return f"environment variable {variable} has characters that no header may have"
        return ""

    def _follow(self, url: str) -> None:
        """Send the events as they come. Raises the log's RdvErrors."""
        # Of a topic without a saved position, as one that is new, only what is not too old.
        since_ns = time.time_ns() - self._webhook.age_max_ms * 10**6
        with EventReader(self._decision.directory, since_ns, self._positions) as reader:
            while not self._stopping.is_set():
                for event in reader.next(WAIT_S):
                    if not self._webhook.kinds or event.kind in self._webhook.kinds:
                        self._deliver(url, event)
                    if self._stopping.is_set():
                        return
                    topic, offset = place_of(event)
                    self._positions[topic] = offset + 1
                    self._save()

    def _deliver(self, url: str, event: Event) -> None:
        """Send an event until it is taken or given up."""
        for attempt in range(1, self._webhook.attempts_max + 1):
            if time.time_ns() - event.time_ns > self._webhook.age_max_ms * 10**6:
                self._warn(f"{event.id} ({event.kind}) is too old to be sent")
                return
            try:
                asyncio.run(self._post(url, event))
            except _NotTaken as error:
                if error.is_final or attempt == self._webhook.attempts_max:
                    self._warn(f"{event.id} ({event.kind}) is given up: {error}")
                    return
                if attempt == 1:
                    self._warn(f"{event.id} ({event.kind}) is sent again: {error}")
                delay_s = min(RETRY_MAX_S, RETRY_S * 2 ** min(attempt - 1, 10))
                delay_s = max(delay_s * random.uniform(0.5, 1.0), error.after_s)  # noqa: S311
                if self._stopping.wait(delay_s):
                    return
            else:
                return

    async def _post(self, url: str, event: Event) -> None:
        """Post an event. Raises _NotTaken."""
        make = slack_body if self._webhook.format == "slack" else json_body
        body = make(self._decision.name, event)
        secret = self._environ.get(self._webhook.secret_from, "").strip()
        headers = headers_of(event, body, secret) | {
            name: self._environ[value].strip() for name, value in self._webhook.headers_from.items()
        }
        timeout_s = self._webhook.timeout_ms / 1000
        try:
            # httpx limits each read; this limits the whole call.
            async with (
                asyncio.timeout(timeout_s),
                httpx.AsyncClient(timeout=timeout_s) as client,
                client.stream("POST", url, content=body, headers=headers) as answer,
            ):
                status, after = answer.status_code, answer.headers.get("Retry-After", "")
        except TimeoutError:
            raise _NotTaken(f"no answer within {timeout_s:g} s") from None
        except (httpx.LocalProtocolError, httpx.InvalidURL, ValueError, TypeError):
            # Their texts may show a secret: the address or the value of a header.
            text = "it cannot be sent: the address or a header is not usable"
            raise _NotTaken(text, is_final=True) from None
        except (httpx.HTTPError, OSError) as error:
            raise _NotTaken(str(error) or type(error).__name__) from None
        if not 200 <= status < 300:  # noqa: PLR2004
            is_final = status < 500 and status not in _AGAIN  # noqa: PLR2004
            after_s = min(float(after), RETRY_MAX_S) if after.isascii() and after.isdigit() else 0.0
            raise _NotTaken(f"HTTP status {status}", is_final=is_final, after_s=after_s)

    def _save(self) -> None:
        try:
            os.makedirs(os.path.dirname(self._path), 0o700, exist_ok=True)
            replace_file(self._path, msgspec.json.encode(self._positions))
        except OSError as error:
            self._warn(f"cannot save what was sent: {error.strerror or error}")

    def _warn(self, text: str) -> None:
        log.warning("webhook %s: %s", self._name, text, extra=coded("notify_failed"))


def _read_positions(path: str) -> dict[str, int]:
    with contextlib.suppress(OSError, msgspec.DecodeError), open(path, "rb") as file:
        return msgspec.json.decode(file.read(), type=dict[str, int])
    return {}
