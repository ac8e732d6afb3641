"""Start, command, stop and kill members from the parent, and collect what they report."""

import json
import os
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

from rdv.stream import open_stream

SCRIPT = Path(__file__).with_name("member_process.py")
DEADLINE_S = 40.0


class Member:
    def __init__(self, address, **options):
        self.events = []
        self._buffer = b""
        self._process = subprocess.Popen(
            [sys.executable, SCRIPT, address, json.dumps(options)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            bufsize=0,
        )
        self.is_over = self.is_killed = False

    @property
    def has_crashed(self):
        return self.is_over and not self.is_killed and not self.of("closed")

    @property
    def out(self):
        return self._process.stdout

    def read(self):
        """Read the reports that are there now."""
        data = os.read(self.out.fileno(), 1 << 16)
        self.is_over = self.is_over or not data
        *lines, self._buffer = (self._buffer + data).split(b"\n")
        self.events += map(json.loads, lines)

    def tell(self, word):
        self._process.stdin.write(word.encode() + b"\n")

    def signal(self, number):
        self._process.send_signal(number)

    def kill(self):
        """Send SIGKILL; what the member had reported before is still read."""
        self.is_killed = True
        self._process.kill()
        self._process.wait()
        while not self.is_over:
            self.read()

    def end(self):
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGCONT)
            self._process.kill()
        self._process.wait()
        self._process.stdin.close()
        self._process.stdout.close()

    def of(self, kind):
        return [event for event in self.events if event["event"] == kind]

    @property
    def offsets(self):
        """Return (topic, partition, offset) of every record that it has read, in order."""
        return [tuple(place) for event in self.of("records") for place in event["places"]]

    @property
    def owns(self):
        """Return (topic, partition) of what it owns now, as it sees it."""
        return {tuple(p[:2]) for event in self.of("owns")[-1:] for p in event["places"]}


class Parent:
    """Hold a stream and its members; check every state that is seen."""

    def __init__(self, path, partitions=1, topics=("t",)):
        self.stream = open_stream(str(path))
        self.producer = self.stream.producer()
        self.members = []
        self._generation = -1
        for topic in topics:
            self.stream.make_topic(topic, partitions)

    def start(self, **options):
        self.members.append(Member(self.stream.address, **options))
        return self.members[-1]

    def send(self, count, partition=0, topic="t"):
        """Send `count` records; return their places."""
        _, first = self.producer.send_many(topic, [b"x"] * count, partition=partition)
        return {(topic, partition, first + n) for n in range(count)}

    def until(self, condition):
        """Read reports until `condition()` holds."""
        deadline = time.monotonic() + DEADLINE_S
        while not condition():
            self.check_state()
            left = deadline - time.monotonic()
            pipes = {m.out: m for m in self.members if not m.is_over}
            ready = select.select(list(pipes), [], [], max(0, min(left, 0.2)))[0]
            for pipe in ready:
                pipes[pipe].read()
            crashed = [m.events[-3:] for m in self.members if m.has_crashed]
            assert not crashed, "a member has crashed, see stderr"
            if left <= 0:
                raise AssertionError([m.events[-5:] for m in self.members])

    def check_state(self):
        state = self.stream.group_state("g")
        places = [ownership.place for ownership in state.ownerships]
        assert len(places) == len(set(places)), state
        assert all(o.owner in state.members for o in state.ownerships), state
        assert all(o.since <= state.generation for o in state.ownerships), state
        assert state.generation >= self._generation, state
        self._generation = state.generation

    def check_owners(self):
        """Check in all reports that a partition has only one owner in each generation."""
        owners = {}
        for member in self.members:
            for event in member.of("owns"):
                for topic, partition, since in event["places"]:
                    owner = owners.setdefault((topic, partition, since), event["member"])
                    assert owner == event["member"], (topic, partition, since)

    def offsets(self):
        return [place for member in self.members for place in member.offsets]

    def close(self):
        for member in self.members:
            member.end()
        self.producer.close()
        self.stream.close()
