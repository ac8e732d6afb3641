"""Runs the console as a process: it follows the log, and serves the page and `/metrics`.

It runs when nothing else needs the processor. A port that is taken holds nothing up: the console
goes on counting, and tries again.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import socket
from collections.abc import Callable, Iterator
from functools import partial

import uvicorn
from starlette.applications import Starlette

from rdv.coded import coded
from rdv.console.app import make_app
from rdv.console.console import Console, Ticker
from rdv.console.errors import ConsolePortTaken
from rdv.console.page.streams import STREAMS_MAX
from rdv.decision import Decision, load_decision
from rdv.decision.accepted import published_path
from rdv.http.authority import host_port, reachable_host
from rdv.serve.observer import decision_in_force
from rdv.serve.process import allow_files
from rdv.system.command_line import set_command_line
from rdv.system.orphans import stop_without_parent

log = logging.getLogger("rdv.console")

RETRY_S = 5.0
"""How often a port that is taken is tried again, in seconds."""

NICE = 19
CONNECTIONS_MAX = STREAMS_MAX + 200
"""How many connections are served; more are answered with 503."""
FILES_BESIDE = 300
"""The files that are open besides connections: the log's, and the process's own."""


def run_console(
    directory: str, host: str | None = None, port: int | None = None, *, is_part: bool
) -> None:
    """Serve until SIGTERM or SIGINT. Raises RdvErrors of the configuration.

    With `is_part` it is the console of a decision that is being served: it saves its totals.
    Otherwise it writes nothing.
    """
    if is_part:
        yield_processor()
    allow_files(CONNECTIONS_MAX + FILES_BESIDE)
    set_command_line(["the", "page"])  # names what is changed from here in events and logs
    logging.getLogger("uvicorn").setLevel(logging.WARNING)  # its start and its end are no news
    decision = load_decision(directory)
    host = host or decision.console.host
    port = decision.console.port_beside(decision.http.port) if port is None else port
    asyncio.run(_serve(directory, host, port, is_part=is_part))


def yield_processor() -> None:
    """Run when nothing else needs the processor."""
    with contextlib.suppress(OSError):
        os.nice(NICE)
    if hasattr(os, "SCHED_IDLE"):
        with contextlib.suppress(OSError):
            os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))


class InForce:
    """Returns the settings in force; reads them when the supervisor has published others."""

    def __init__(self, directory: str) -> None:
        self._directory = directory
        self._path = published_path(directory)
        self._decision: Decision | None = None
        self._stamp: tuple[int, int] | None = None

    def __call__(self) -> Decision:
        """Return the settings. Raises RdvErrors of the configuration."""
        stamp = None
        with contextlib.suppress(OSError):
            found = os.stat(self._path)
            stamp = found.st_ino, found.st_mtime_ns
        if self._decision is None or stamp is None or stamp != self._stamp:
            self._decision, self._stamp = decision_in_force(self._directory), stamp
        return self._decision


async def _serve(directory: str, host: str, port: int, *, is_part: bool) -> None:
    decision = InForce(directory) if is_part else partial(load_decision, directory)
    console = Console(directory, decision, saves=is_part)
    ticker = console.ticker = Ticker(console)
    app = make_app(console, host)
    ticker.start()
    server = _Server(app)
    loop = asyncio.get_running_loop()
    for signum in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(signum, server.end)
    if is_part:
        stop_without_parent(lambda: _call(loop, server.end))
    try:
        listener = await _listen(host, port, server, retries=is_part)
        if listener is not None:
            shown = host_port(reachable_host(host), listener.getsockname()[1])
            log.info("the console is at http://%s/", shown)
            await server.serve(sockets=[listener])
    finally:
        ticker.stop()
        console.close()


def _call(loop: asyncio.AbstractEventLoop, function: Callable[[], None]) -> None:
    """Call a function on the loop from another thread."""
    loop.call_soon_threadsafe(function)


async def _listen(host: str, port: int, server: _Server, *, retries: bool) -> socket.socket | None:
    """Return a listening socket, or None if it is to end before the port is free.

    Raises ConsolePortTaken unless it `retries`.
    """
    said = False
    while True:
        try:
            return _listener(host, port)
        except OSError as error:
            fault = ConsolePortTaken(host, port, error.strerror or str(error))
            if not retries:
                raise fault from error
            if not said:
                log.warning("%s; trying again", fault.text(), extra=coded(fault))
                said = True
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(server.ended.wait(), RETRY_S)
            return None


def _listener(host: str, port: int) -> socket.socket:
    family, kind, protocol, _, address = socket.getaddrinfo(
        host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[0]
    listener = socket.socket(family, kind, protocol)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(128)
        listener.setblocking(False)
    except OSError:
        listener.close()
        raise
    return listener


class _Server(uvicorn.Server):
    """A server that leaves signals to this process."""

    def __init__(self, app: Starlette) -> None:
        config = uvicorn.Config(
            app,
            lifespan="off",
            ws="none",
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=1,
            proxy_headers=False,
            limit_concurrency=CONNECTIONS_MAX,
        )
        super().__init__(config)
        self.ended = asyncio.Event()

    def end(self) -> None:
        """Answer what is under way, and end."""
        self.should_exit = True
        self.ended.set()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield
