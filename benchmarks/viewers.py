"""Do a thousand viewers of the page slow the decision? Rounds without and with them, in turn.

    python benchmarks/viewers.py [VIEWERS] [ROUNDS]

It serves a new decision in a temporary directory. What the viewers themselves cost is in the
figures: they read on the same machine.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

RATE, SECONDS = 100, 8


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


async def look(port: int, path: str, got: list[int]) -> None:
    """Be one viewer: read events until cancelled."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n".encode())
    with contextlib.closing(writer):
        while data := await reader.read(65_536):
            got[0] += len(data)


async def watch(port: int, count: int, until: asyncio.Event) -> int:
    got = [0]
    paths = ("/now/events", "/race/events")
    tasks = [asyncio.create_task(look(port, paths[n % 2], got)) for n in range(count)]
    await until.wait()
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    return got[0]


async def one_round(directory: Path, console: int, viewers: int) -> tuple[dict[str, float], int]:
    ended = asyncio.Event()
    watching = asyncio.create_task(watch(console, viewers, ended))
    await asyncio.sleep(2)
    load = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "rdv", "load", str(directory), "--rate", str(RATE),
        "--duration", f"{SECONDS}s", "--json", stdout=subprocess.PIPE,
    )  # fmt: skip
    out, _ = await load.communicate()
    ended.set()
    return json.loads(out), await watching


def main() -> None:
    viewers = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000
    rounds = int(sys.argv[2]) if len(sys.argv) > 2 else 3
    with tempfile.TemporaryDirectory() as folder:
        directory, port, console = Path(folder) / "fraud", free_port(), free_port()
        subprocess.run([sys.executable, "-m", "rdv", "init", str(directory)], check=True,
                       stdout=subprocess.DEVNULL)  # fmt: skip
        environment = {**os.environ, "RDV_HTTP_PORT": str(port), "RDV_CONSOLE_PORT": str(console)}
        command = [sys.executable, "-m", "rdv", "serve", str(directory)]
        serve = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)
        os.environ["RDV_HTTP_PORT"] = str(port)
        try:
            for url in (f"http://127.0.0.1:{port}/readyz", f"http://127.0.0.1:{console}/livez"):
                while True:
                    with contextlib.suppress(OSError), urllib.request.urlopen(url):
                        break
                    time.sleep(0.2)
            for number in range(rounds):
                for count in (0, viewers):
                    found, got = asyncio.run(one_round(directory, console, count))
                    print(number, f"{count} viewers", found, f"{got / 1e6:.1f} MB of events")
        finally:
            serve.send_signal(signal.SIGINT)
            serve.wait()


if __name__ == "__main__":
    main()
