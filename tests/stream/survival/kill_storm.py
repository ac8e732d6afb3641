"""Kill writers again and again, in a process of its own, and report what happened.

The parent is warm and single-threaded, so that a writer costs one fork. Every writer appends until
it is killed and reports each acknowledgement through its pipe after the send has returned.
"""

from __future__ import annotations

import os
import random
import select
import signal
import sys
import time
import traceback
from struct import Struct

from survival_children import say
from survival_logs import TOPIC, open_log

ACK = Struct("<QIII")
"""(offset, writer, number of the first value, number of values)"""


def value_of(writer: int, number: int) -> bytes:
    """Return the value of a writer's `number`-th record; the sizes vary widely."""
    size = (writer * 31 + number * 17) % 101
    return b"%d:%d:" % (writer, number) + b"x" * (size if number % 41 else size * 40)


def batch_size(turn: random.Random) -> int:
    return turn.choice((1, 1, 1, 1, 1, 1, 2, 2, 3, 7, 7, 40, 300))


def write_until_killed(path: str, writer: int, seed: int, pipe: int) -> None:
    turn, number = random.Random(seed), 0
    with open_log(path) as stream, stream.producer() as producer:
        while True:
            size = batch_size(turn)
            values = [value_of(writer, number + i) for i in range(size)]
            if size == 1:
                _, offset = producer.send(TOPIC, values[0])
            else:
                _, offset = producer.send_many(TOPIC, values)
            os.write(pipe, ACK.pack(offset, writer, number, size))
            number += size


class Victim:
    """Fork one writer, and collect the acknowledgements that it reports."""

    def __init__(self, path: str, writer: int, seed: int) -> None:
        self.writer = writer
        self.data = b""
        self.pipe, theirs = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            try:
                os.close(self.pipe)
                write_until_killed(path, writer, seed, theirs)
            except BaseException:
                traceback.print_exc()
                sys.stderr.flush()
            finally:
                os._exit(1)
        os.close(theirs)

    def read(self) -> bool:
        data = os.read(self.pipe, 65536)
        self.data += data
        return bool(data)

    def kill(self) -> bool:
        """Kill the writer; return whether it was still alive (a writer never ends by itself)."""
        os.kill(self.pid, signal.SIGKILL)
        _, status = os.waitpid(self.pid, 0)
        while self.read():
            pass
        os.close(self.pipe)
        return os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL

    def acknowledged(self) -> list[tuple[int, int, int, int]]:
        whole = len(self.data) - len(self.data) % ACK.size
        return list(ACK.iter_unpack(self.data[:whole]))


def storm(path: str, kills: int, writers: int, seed: int) -> None:
    """Kill `kills` writers, of which `writers` live at a time."""
    turn = random.Random(seed)
    serial = 0
    acknowledged: list[tuple[int, int, int, int]] = []
    victims: list[Victim] = []
    ended_by_itself = 0
    for _ in range(kills):
        while len(victims) < writers:
            victims.append(Victim(path, serial, seed * 1_000_003 + serial))
            serial += 1
        victim = turn.choice(victims)
        # Wait for a few acknowledgements of any writers, or none, then for some hundred
        # instructions.
        for _ in range(turn.choice((0, 0, 0, 1, 1, 2, 4))):
            ready, _, _ = select.select([v.pipe for v in victims], [], [], 20)
            if not ready:
                say({"problem": "no writer makes progress"})
                return
            for other in victims:
                if other.pipe in ready and not other.read():
                    say({"problem": f"writer {other.writer} ended by itself"})
                    return
        until = time.perf_counter_ns() + turn.randrange(300_000)
        while time.perf_counter_ns() < until:
            pass
        victims.remove(victim)
        ended_by_itself += not victim.kill()
        acknowledged += victim.acknowledged()
    for victim in victims:
        ended_by_itself += not victim.kill()
        acknowledged += victim.acknowledged()
    say({"ended": ended_by_itself, "writers": serial, "acknowledged": acknowledged})
