"""Write and read partitions without a stream, with and without the extension."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from hypothesis import settings

from rdv.clock import SYSTEM_CLOCK
from rdv.native import NATIVE
from rdv.stream.config import StreamConfig
from rdv.stream.errors import RecordsDamaged
from rdv.stream.file.layout import RECOVERED_FILE
from rdv.stream.file.reader import PartitionReader
from rdv.stream.file.verify import verify_partition
from rdv.stream.file.writer import PartitionWriter
from rdv.system.disk import Disk

ROOT = Path(__file__).resolve().parents[2]

quick = settings(derandomize=True, deadline=None, max_examples=40, database=None)


class PureDisk(Disk):
    """Make the same system calls, from Python."""


class Spy:
    """Count the calls that the extension has done, and those that it has left to Python."""

    def __init__(self) -> None:
        self.done = self.left = 0
        self.errors: list[OSError] = []

    def append(self, *arguments: object) -> object:
        try:
            found = NATIVE.append(*arguments)
        except OSError as error:
            self.errors.append(error)
            raise
        return self._count(found)

    def read(self, *arguments: object) -> object:
        return self._count(NATIVE.read(*arguments))

    def _count(self, found: object) -> object:
        if found:
            self.done += 1
        else:
            self.left += 1
        return found


def make_writer(
    directory: Path | str, disk: Disk | None = None, clock: object = SYSTEM_CLOCK, **set_: object
) -> PartitionWriter:
    os.makedirs(directory, exist_ok=True)
    return PartitionWriter(
        disk or Disk(),
        str(directory),
        StreamConfig(**set_),
        clock,
        announce=lambda now_ns: None,
        opened=lambda writer: None,
        recovered=lambda end: None,
    )


def make_reader(directory: Path | str, disk: Disk | None = None) -> PartitionReader:
    return PartitionReader(disk or Disk(), str(directory), "t", 0)


def files_of(directory: Path | str) -> dict[str, bytes]:
    """Return the files by name, without the one that names the inodes of the others."""
    places = (path for path in sorted(Path(directory).iterdir()) if path.name != RECOVERED_FILE)
    return {path.name: path.read_bytes() for path in places}


def values_of(directory: Path | str, disk: Disk | None = None, most: int = 500) -> list[bytes]:
    """Return all values of a sound partition; check that offsets follow one another."""
    found: list[bytes] = []
    reader = make_reader(directory, disk)
    while block := reader.read(len(found), most, 1 << 20):
        assert list(block.offsets) == list(range(len(found), len(found) + len(block)))
        found += block.values()
    reader.close()
    return found


def damage_of(directory: Path | str) -> list[RecordsDamaged]:
    reports = verify_partition(Disk(), str(directory), "t", 0)
    return [damage for report in reports for damage in report.damage]


class Child:
    """Run a function of native_children in a process of its own."""

    def __init__(self, function: str, *arguments: object, native: str = "") -> None:
        path = os.pathsep.join([str(Path(__file__).parent), str(ROOT)])
        environment = {**os.environ, "PYTHONPATH": os.environ.get("PYTHONPATH", "") + ":" + path}
        environment["RDV_NATIVE"] = native
        code = "import sys, json, native_children as here\n"
        code += "getattr(here, sys.argv[1])(*json.loads(sys.argv[2]))"
        self.process = subprocess.Popen(
            [sys.executable, "-c", code, function, json.dumps(arguments)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment,
        )

    def hear(self) -> object:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, f"the child ended with {self.process.wait()} instead of saying something"
        return json.loads(line)

    def go(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(b"\n")
        self.process.stdin.flush()

    def rest(self) -> list[object]:
        """Return what the child says until it ends."""
        output, _ = self.process.communicate(timeout=60)
        return [json.loads(line) for line in output.splitlines() if line.endswith(b"]")]

    def __enter__(self) -> Child:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.communicate()


def python(code: str, *arguments: str, **environment: str) -> str:
    """Return what a fresh Python prints."""
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()
