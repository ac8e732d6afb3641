"""Server-sent events: one computation a view, whatever the number of viewers.

A view is computed only while it has viewers. A viewer that reads slowly gets the newest version
and not those between; one that does not read at all is dropped.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from rdv.analysis.charts import Report
from rdv.analysis.charts.markup import Markup
from rdv.coded import coded
from rdv.console.page.errors import Busy
from rdv.console.page.respond import SECURITY, Threads, error_report
from rdv.errors import RdvError

log = logging.getLogger("rdv.console")

STREAMS_MAX = 2_000
"""The maximum number of viewers of all views together."""
QUIET_S = 15.0
"""After this time without news a comment is sent, so that a lost connection is noticed."""
SEND_S = 20.0
"""A viewer that has not taken a version after this time is dropped."""
RETRY_MS = 3_000
BUSY_S = 1.0
"""After this time a view is tried again that found no thread."""
UPDATES_A_SECOND = 250
"""With more viewers than this a view is updated less often, for the sake of the decision."""


class Streams:
    """Counts the viewers of all views. For one event loop."""

    def __init__(self, streams_max: int = STREAMS_MAX) -> None:
        self._streams_max = streams_max
        self.count = 0

    @contextlib.contextmanager
    def one(self) -> Iterator[None]:
        """Count one viewer for the duration of a block."""
        self.count += 1
        try:
            yield
        finally:
            self.count -= 1

    @property
    def is_full(self) -> bool:
        return self.count >= self._streams_max


class Broadcast:
    """One view's newest version, for all who look. For one event loop.

    `make` computes it in a thread. `after` waits until something may have changed.
    """

    def __init__(
        self,
        threads: Threads,
        make: Callable[[], Markup],
        after: Callable[[], Awaitable[object]],
    ) -> None:
        self._threads, self._make, self._after = threads, make, after
        self._changed = asyncio.Condition()
        self._number = 0
        self._event = b""
        self._viewers = 0
        self._is_broken = False
        self._task: asyncio.Task[None] | None = None

    async def versions(self) -> AsyncGenerator[bytes]:
        """Yield the view as an event, now and whenever it changes; a comment when it is quiet."""
        self._viewers += 1
        if self._task is None:
            self._task = asyncio.create_task(self._compute())
        seen = 0
        try:
            while True:
                try:
                    async with asyncio.timeout(QUIET_S), self._changed:
                        while self._number <= seen:
                            await self._changed.wait()
                except TimeoutError:
                    yield b": still here\n\n"
                    continue
                seen = self._number
                yield self._event
        finally:
            self._viewers -= 1
            if not self._viewers and self._task is not None:
                self._task.cancel()
                self._task = None
                self._event, self._number = b"", 0  # the next viewer gets no old version

    async def _compute(self) -> None:
        while True:
            try:
                event = as_event(await self._threads.run(self._made))
            except Busy:
                await asyncio.sleep(BUSY_S)
                continue
            if event != self._event or not self._number:
                async with self._changed:
                    self._event, self._number = event, self._number + 1
                    self._changed.notify_all()
            await self._after()
            await asyncio.sleep(self._viewers / UPDATES_A_SECOND)

    def _made(self) -> Markup:
        try:
            found = self._make()
        except RdvError as error:
            return error_report(error).summary()
        except Exception:
            # A bug: viewers are told, and the view is tried again after the next turn.
            if not self._is_broken:
                log.exception("a view cannot be computed", extra=coded("console_failed"))
            self._is_broken = True
            report = Report("")
            report.verdict("This view cannot be computed: rdv serve's log has the cause.", "bad")
            return report.summary()
        self._is_broken = False
        return found


def as_event(text: str) -> bytes:
    """Return a text as one server-sent event."""
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    return ("".join(f"data: {line}\n" for line in lines) + "\n").encode()


class EventStream(Response):
    """Sends events until the viewer goes, or does not read them."""

    def __init__(self, streams: Streams, events: AsyncGenerator[bytes]) -> None:
        super().__init__(headers=SECURITY, media_type="text/event-stream")
        del self.headers["content-length"]
        self._streams, self._events = streams, events

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        del scope
        with self._streams.one():
            start = {"type": "http.response.start", "status": 200, "headers": self.raw_headers}
            await send(start)
            pump = asyncio.create_task(self._pump(send))
            gone = asyncio.create_task(_gone(receive))
            try:
                await asyncio.wait({pump, gone}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for task in (pump, gone):
                    task.cancel()
                await asyncio.gather(pump, gone, return_exceptions=True)

    async def _pump(self, send: Send) -> None:
        async def write(data: bytes) -> None:
            async with asyncio.timeout(SEND_S):
                await send({"type": "http.response.body", "body": data, "more_body": True})

        await write(f"retry: {RETRY_MS}\n\n".encode())
        async with contextlib.aclosing(self._events) as events:
            async for event in events:
                await write(event)


async def _gone(receive: Receive) -> None:
    """Wait until the viewer has disconnected."""
    while (await receive())["type"] != "http.disconnect":
        pass
