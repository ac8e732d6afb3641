"""Run a function of a test module in a real process, with a fresh Python.

pytest itself is never forked: it has threads. A child that needs to fork does so by itself.
"""

from __future__ import annotations

import importlib
import json
import os
import select
import signal
import subprocess
import sys
from pathlib import Path
from types import TracebackType

ROOT = Path(__file__).resolve().parents[3]
DEADLINE_S = 60.0


class Child:
    """Run `function(*arguments)` of a module here in a process of its own.

    The child uses `say` (send a line of JSON to the parent) and `hear` (wait for a line from it).
    """

    def __init__(self, module: str, function: str, *arguments: object) -> None:
        here, kit = Path(__file__).parent, ROOT / "tests" / "kit"
        path = os.pathsep.join(map(str, [here, kit, os.environ.get("PYTHONPATH", ""), ROOT]))
        self.process = subprocess.Popen(
            [sys.executable, __file__, module, function, json.dumps(arguments)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": path},
            bufsize=0,
        )
        self.pid = self.process.pid
        self._heard = b""

    def expect(self, deadline_s: float = DEADLINE_S) -> object:
        """Return what the child says next."""
        assert self.process.stdout is not None
        while b"\n" not in self._heard:
            ready, _, _ = select.select([self.process.stdout], [], [], deadline_s)
            assert ready, "the child hangs"
            data = os.read(self.process.stdout.fileno(), 65536)
            assert data, f"the child ended with {self.process.wait()} instead of saying something"
            self._heard += data
        line, self._heard = self._heard.split(b"\n", 1)
        return json.loads(line)

    def tell(self, what: object = None) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(what).encode() + b"\n")

    def signal(self, number: int) -> None:
        self.process.send_signal(number)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def wait_stopped(self) -> None:
        """Wait until a SIGSTOP has taken effect."""
        os.waitpid(self.pid, os.WUNTRACED)

    def end(self, deadline_s: float = DEADLINE_S) -> int:
        return self.process.wait(deadline_s)

    def __enter__(self) -> Child:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, _: BaseException | None, __: TracebackType | None
    ) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGCONT)
            self.process.kill()
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                pipe.close()
        self.process.wait()


def call(module: str, function: str, *arguments: object, deadline_s: float = DEADLINE_S) -> object:
    """Run a child and return the one thing that it says; check that it ends with 0."""
    with Child(module, function, *arguments) as child:
        answer = child.expect(deadline_s)
        assert child.end(deadline_s) == 0
        return answer


def say(what: object) -> None:
    """In the child: send a line to the parent."""
    os.write(1, (json.dumps(what) + "\n").encode())


def hear() -> object:
    """In the child: wait for a line from the parent; end the process when the parent has gone."""
    line = sys.stdin.readline()
    if not line:
        os._exit(3)
    return json.loads(line)


def main() -> None:
    module, function, arguments = sys.argv[1:]
    getattr(importlib.import_module(module), function)(*json.loads(arguments))


if __name__ == "__main__":
    sys.modules["survival_children"] = sys.modules["__main__"]
    main()
