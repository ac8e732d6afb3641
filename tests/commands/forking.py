"""Run many commands as separate processes without starting Python for each.

One process imports all of rdv's commands and forks a child for each command.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

STRANGER = 65534
"""The id of a user that owns no files (the user `nobody`)."""


@dataclass(frozen=True)
class User:
    """The user that runs a command. `drops`: root without the right to bypass permissions."""

    uid: int | None = None
    groups: tuple[int, ...] = ()
    drops: bool = False


class Forker:
    """Runs `rdv` commands one after another. A context manager."""

    def __init__(self, *before: str) -> None:
        """`before` is the beginning of the command line: a program that starts this one."""
        self._ours, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(
                [*before, sys.executable, __file__, str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                env={**os.environ, "OPENBLAS_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1"},
            )
        self._answers = self._ours.makefile("r")

    @property
    def pid(self) -> int:
        """The id of the process that forks."""
        return self._process.pid

    def __enter__(self) -> Forker:
        return self

    def __exit__(self, *_: object) -> None:
        self._answers.close()
        self._ours.close()
        self._process.wait()

    def run(
        self,
        *arguments: str,
        place: str | Path = ".",
        user: User | None = None,
        boot: str = "",
    ) -> tuple[int, str, str]:
        """Run a command in the directory `place`; return its exit code, stdout and stderr.

        `boot` is the boot id that the command sees.
        """
        who = user or User()
        asked = {
            "arguments": arguments,
            "place": str(Path(place).resolve()),
            "environ": dict(os.environ),
            "uid": who.uid,
            "groups": who.groups,
            "drops": who.drops,
            "boot": boot,
        }
        self._ours.sendall(json.dumps(asked).encode() + b"\n")
        line = self._answers.readline()
        assert line, "the forking process has ended"
        code, out, err = json.loads(line)
        return code, out, err


def _serve(fd: int) -> None:
    import encodings
    import importlib
    import pkgutil
    import tempfile

    import rdv

    # Import everything: another user may have no permission to read Python's files.
    for package in (rdv, encodings):
        for module in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
            with contextlib.suppress(ImportError):  # encodings of other systems
                importlib.import_module(module.name)
    with socket.socket(fileno=fd) as asker:
        for line in asker.makefile("r"):
            asked = json.loads(line)
            with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
                pid = os.fork()
                if not pid:
                    asker.detach()
                    _become(asked, out.fileno(), err.fileno())
                status = os.waitpid(pid, 0)[1]
                texts = []
                for file in (out, err):
                    file.seek(0)
                    texts.append(file.read().decode("utf-8", "replace"))
            answer = [os.waitstatus_to_exitcode(status), *texts]
            asker.sendall(json.dumps(answer).encode() + b"\n")


def _change_boot(boot: bytes) -> None:
    """Have every module find this boot id, as after a restart of the machine."""
    from rdv.system import boot as boots
    from rdv.system.disk import Disk

    Disk.boot_id = boots.boot_id = lambda *_: boot
    for name, module in list(sys.modules.items()):
        if name.startswith("rdv.") and hasattr(module, "boot_id"):
            module.boot_id = boots.boot_id


def _become(asked: dict, out: int, err: int) -> None:
    """Run the command in the child. Does not return."""
    code = 70
    try:
        os.environ.clear()
        os.environ.update(asked["environ"])
        os.chdir(asked["place"])
        nothing = os.open(os.devnull, os.O_RDONLY)
        for number, fd in enumerate((nothing, out, err)):
            os.dup2(fd, number)
        _change_user(asked)
        if asked["boot"]:
            _change_boot(asked["boot"].encode())
        from rdv.__main__ import main

        code = main(asked["arguments"])
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else 1
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        os._exit(code)


def _change_user(asked: dict) -> None:
    if asked["drops"] and os.getuid() == 0:
        import ctypes

        # Remove both capabilities from the effective, permitted and inheritable sets.
        libc = ctypes.CDLL(None, use_errno=True)
        header = (ctypes.c_uint32 * 2)(0x20080522, 0)
        sets = (ctypes.c_uint32 * 6)()
        assert libc.capget(header, sets) == 0
        for number in (0, 1, 2):
            sets[number] &= ~0b110  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH
        assert libc.capset(header, sets) == 0
    if asked["uid"] is not None:
        os.setgroups(asked["groups"])
        os.setgid(asked["uid"])
        os.setuid(asked["uid"])


if __name__ == "__main__":
    _serve(int(sys.argv[1]))
