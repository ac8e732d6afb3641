"""What the tests of commands share beside fixtures."""

from __future__ import annotations

import re
import signal
import socket
import subprocess


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Served:
    """An `rdv serve` (or another command) that is listened to on stderr."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self.process = process
        self.lines: list[str] = []

    def until(self, pattern: str) -> re.Match[str]:
        """Read on until a line matches."""
        for raw in self.process.stderr:
            line = raw.decode("utf-8", "replace").rstrip("\n")
            self.lines.append(line)
            if found := re.search(pattern, line):
                return found
        raise AssertionError("\n".join([*self.lines, f"ended without {pattern!r}"]))

    def up(self):
        """Until it says how to stop it: everything is ready then."""
        self.until(r"^  stop ")
        return self

    def pid(self, name: str) -> int:
        """The process of that name that has become ready last."""
        found = [re.search(rf"\b{name} is ready \(process (\d+)\)", line) for line in self.lines]
        return int([match for match in found if match][-1][1])

    def end(self, signum: int = signal.SIGTERM) -> int:
        """Ask for the end and wait for it."""
        self.process.send_signal(signum)
        self.lines += self.process.stderr.read().decode("utf-8", "replace").splitlines()
        return self.process.wait()
