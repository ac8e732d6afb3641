"""Provide what the tests of commands share besides fixtures."""

from __future__ import annotations

import re
import signal
import subprocess


class Served:
    """Run `rdv serve` (or another command) and read its stderr."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self.process = process
        self.lines: list[str] = []

    def until(self, pattern: str) -> re.Match[str]:
        """Read lines until one matches."""
        for raw in self.process.stderr:
            line = raw.decode("utf-8", "replace").rstrip("\n")
            self.lines.append(line)
            if found := re.search(pattern, line):
                return found
        raise AssertionError("\n".join([*self.lines, f"ended without {pattern!r}"]))

    def up(self):
        """Read until the command says how to stop it: then everything is ready."""
        self.until(r"^  stop ")
        return self

    def pid(self, name: str) -> int:
        """Return the id of the process of that name that became ready last."""
        found = [re.search(rf"\b{name} is ready \(process (\d+)\)", line) for line in self.lines]
        return int([match for match in found if match][-1][1])

    def end(self, signum: int = signal.SIGTERM) -> int:
        """Send the signal, wait for the end and return the exit code."""
        self.process.send_signal(signum)
        self.lines += self.process.stderr.read().decode("utf-8", "replace").splitlines()
        return self.process.wait()
