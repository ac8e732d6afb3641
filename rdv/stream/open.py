"""These functions open or create the stream at an address."""

from __future__ import annotations

import contextlib
import sys

from rdv.clock import SYSTEM_CLOCK, Clock
from rdv.stream.address import parse_address
from rdv.stream.config import StreamConfig
from rdv.stream.errors import InvalidAddress, StreamExists, StreamNotFound, UnsupportedPlatform
from rdv.stream.protocol import Stream
from rdv.stream.stream import LogStream


def open_stream(
    address: str,
    *,
    create: bool = True,
    look: bool = False,
    may_wait: bool = True,
    config: StreamConfig | None = None,
    clock: Clock = SYSTEM_CLOCK,
) -> Stream:
    """Open the stream at `address`: a path, or `memory:NAME` within this process.

    A missing one is made, with `config`, unless `create` is False; then StreamNotFound is raised.
    With `look` nothing is made or changed by any call: the stream can be read and followed, even by
    users who may not write to it. Otherwise, consumers wait for partitions that must be recovered
    first and that another process has locked; without `may_wait` they skip these and read them as
    soon as possible. An existing file stream keeps the settings in its stream.toml. Raises
    InvalidAddress, InvalidConfig, UnsupportedPlatform and SystemFaults.
    """
    place = parse_address(address)
    if place.scheme == "memory":
        from rdv.stream.memory import backend as memory

        if not create and not memory.has_memory_stream(place.place):
            raise StreamNotFound(address, "no such stream in this process")
        return LogStream(memory.memory_backend(place.place, config, clock), clock)
    if place.scheme == "kafka":
        raise InvalidAddress(address, "the kafka backend is not there yet")
    if sys.platform not in ("linux", "darwin"):
        raise UnsupportedPlatform(sys.platform)
    return _open_files(
        place.place,
        create=create and not look,
        look=look,
        may_wait=may_wait,
        config=config,
        clock=clock,
    )


def _open_files(
    path: str,
    *,
    create: bool,
    look: bool,
    may_wait: bool,
    config: StreamConfig | None,
    clock: Clock,
) -> Stream:
    from rdv.stream.file import directory
    from rdv.stream.file.backend import FileBackend
    from rdv.stream.files import FileStream
    from rdv.system.disk import Disk

    disk, path = Disk(), directory.normal_path(path)
    try:
        known = directory.read_config(disk, path)
    except StreamNotFound:
        if not create:
            raise
        # Another process may have made it in this very moment.
        with contextlib.suppress(StreamExists):
            directory.make_stream(disk, path, config)
        known = directory.read_config(disk, path)
    if look:
        disk.may_change = False
        from rdv.stream.file.looking import LookingBackend

        return FileStream(LookingBackend(disk, path, known, clock), clock)
    return FileStream(FileBackend(disk, path, known, clock), clock, may_wait=may_wait)


def create_stream(address: str, config: StreamConfig | None = None) -> Stream:
    """Make a stream and open it. Raises StreamExists when there is one, and as `open_stream`."""
    try:
        open_stream(address, create=False).close()
    except StreamNotFound:
        return open_stream(address, config=config)
    raise StreamExists(address)
