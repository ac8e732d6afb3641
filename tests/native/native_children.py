"""Run parts of tests in processes of their own."""

from __future__ import annotations

import json
import os
import resource
import signal
import sys

from native_kit import Spy, make_reader, make_writer

from rdv.native import NATIVE
from rdv.stream.errors import DiskFull
from rdv.system.disk import Disk


def say(*what):
    os.write(1, json.dumps(what).encode() + b"\n")


def _spied(directory, **settings):
    writer, spy = make_writer(directory, **settings), Spy()
    if NATIVE is not None:
        writer._native = spy
    return writer, spy


def append_many(directory, name, batches):
    """Append `batches` batches of one to five values, after a line from the parent."""
    writer, spy = _spied(directory, segment_bytes=3000)
    say(NATIVE is not None)
    sys.stdin.readline()
    count = 0
    for number in range(batches):
        values = [b"%s %d\n" % (name.encode(), count + i) for i in range(number % 5 + 1)]
        writer.append(values)
        count += len(values)
    say(count, spy.done)


def append_for_ever(directory):
    """Report each acknowledged offset, until the process is killed."""
    writer = make_writer(directory, segment_bytes=2000)
    number = 0
    while True:
        offset = writer.append([b"%d\n" % (number + i) for i in range(7)])
        number += 7
        say(offset)


def _limit(size_bytes):
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (hard if size_bytes is None else size_bytes, hard))


def fill_up(directory, size, count, limit_bytes):
    """Append `count` values of `size` bytes a time up to a file size limit; then lift it."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    writer, spy = _spied(directory)
    sent = 0

    def batch():
        return [b"%0*d" % (size, sent + i) if size else b"" for i in range(count)]

    _limit(limit_bytes)
    failed = ""
    for _ in range(1000):
        try:
            offset = writer.append(batch())
        except DiskFull as error:
            failed = str(error)
            break
        assert offset == sent
        sent += count
    disk = Disk()
    seen = 0
    reader = make_reader(directory, disk)
    while block := reader.read(seen, 100, 1 << 20):
        for number, value in enumerate(block.values(), seen):
            assert value == (b"%0*d" % (size, number) if size else b"")
        seen += len(block)
    _limit(None)
    again = writer.append([b"room again"])
    says = [error.errno for error in spy.errors]
    say(sent, seen, again, failed, says, spy.done)


def die_writing(directory, limit_bytes):
    """Append until the kernel kills the process in the write that goes beyond the limit."""
    signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
    writer, spy = _spied(directory)
    _limit(limit_bytes)
    number = 0
    while True:
        writer.append([b"%d" % (number + i) for i in range(5)])
        number += 5
        say(number, spy.done)
