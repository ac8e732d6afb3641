"""Run a group member as a process that gets commands on stdin and reports JSON lines on stdout.

It polls all the time, until it has had its `budget` of records: then it waits for a command on
stdin without any sign of life. Commands: "commit", "poll N" (N more records), "freeze" (an empty
budget: it may be stopped without holding any lock), "close".
"""

import json
import os
import select
import sys
import time

from rdv.stream import GroupTiming, open_stream
from rdv.stream.errors import Fenced


def tell(event, **fields):
    line = json.dumps({"event": event, "at": time.monotonic_ns(), **fields})
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


class Words:
    """Read lines of stdin without a buffer that `select` cannot see."""

    def __init__(self):
        self._buffer = b""

    def next(self, *, wait):
        """Return the next command and its arguments; None if there is none and `wait` is false."""
        while b"\n" not in self._buffer:
            if not wait and not select.select([0], [], [], 0)[0]:
                return None
            data = os.read(0, 4096)
            if not data:
                return ["close"]
            self._buffer += data
        line, self._buffer = self._buffer.split(b"\n", 1)
        return line.decode().split()


class Process:
    def __init__(self, address, options):
        self.budget = options.get("budget", 10**9)
        self.batch = options.get("batch", 7)
        self.commit_each = options.get("commit") == "each"
        self.commit_on_revoke = options.get("commit") == "revoke"
        self.owned = None
        self.stream = open_stream(address)
        self.consumer = self.stream.consumer(
            options.get("topics", ["t"]),
            group="g",
            start=options.get("start", "earliest"),
            timing=GroupTiming(options.get("session_timeout_ms", 600), 30),
            on_assign=lambda places: tell("assign", places=places),
            on_revoke=self.revoke,
        )

    def revoke(self, places):
        if self.commit_on_revoke:
            self.commit()
        tell("revoke", places=places)

    def commit(self):
        try:
            self.consumer.commit()
        except Fenced as error:
            tell("fenced", member=error.member)
        else:
            tell("committed")

    def poll(self):
        records = self.consumer.poll(min(self.batch, self.budget), timeout=0.01)
        self.budget -= len(records)
        held = self.stream.group_state("g").held_by(self.consumer.member_id)
        places = self.consumer.assignment()
        owned = [[*place, held[place].since] for place in places if place in held]
        if owned != self.owned:
            self.owned = owned
            tell("owns", member=self.consumer.member_id, places=owned)
        if records:
            tell("records", places=[[r.topic, r.partition, r.offset] for r in records])
            if self.commit_each:
                self.commit()

    def run(self):
        words = Words()
        while True:
            if self.budget:
                self.poll()
            while (word := words.next(wait=not self.budget)) is not None:
                if not self.obey(*word):
                    return

    def obey(self, word, number="0"):
        if word == "commit":
            self.commit()
        elif word == "poll":
            self.budget = int(number)
        elif word == "freeze":
            self.budget = 0
            tell("frozen")
        elif word == "close":
            if self.commit_on_revoke:
                self.commit()
            self.consumer.close()
            tell("closed")
            return False
        return True


if __name__ == "__main__":
    Process(sys.argv[1], json.loads(sys.argv[2])).run()
