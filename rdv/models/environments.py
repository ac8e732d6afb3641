"""Make the environment of a model from its list of requirements, and keep it for the next start.

It lies in the decision's `.rdv/environments/HASH`, by a hash of the list, of the lists and files
that it names, and of the interpreter. It is made by uv where that is installed, else by venv and
pip, once: others wait. A file inside marks it as complete, so that one whose making was killed is
made again. Without a network, what is there is used. An environment that no model has used for
UNUSED_S is removed when another one is made.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import re
import shutil
import sys
import time
from collections.abc import Iterator

from rdv.system.child import how_it_ended
from rdv.system.run import run_program

FOLDER = (".rdv", "environments")
COMPLETE = ".rdv-complete"
BUILD_S = 1_800
UNUSED_S = 7 * 86_400
_INCLUDED = re.compile(r"^\s*(?:-r|--requirement|-c|--constraint)[ =]\s*(\S+)")
_FINAL = (
    "no solution found", "no matching distribution", "could not find a version",
    "was not found in the package registry", "invalid requirement", "couldn't parse requirement",
    "failed to parse", "conflicting dependencies", "resolutionimpossible",
)  # fmt: skip
"""What uv and pip say of a list that can never be installed."""
_LINES_KEPT = 12


class EnvironmentUnusable(Exception):
    """The interpreter does not exist, or its libraries cannot be installed."""

    def __init__(self, reason: str, *, may_pass: bool = False) -> None:
        """`may_pass`: whether another attempt may succeed without an edit."""
        super().__init__(reason)
        self.may_pass = may_pass


class InterpreterInUse:
    """An interpreter, whose environment is kept as long as this is open."""

    def __init__(self, python: str, lock: int = -1) -> None:
        self.python = python
        self._lock = lock

    def close(self) -> None:
        """Let the environment be removed once it is old. May be called twice."""
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1


def use_interpreter(directory: str, python: str, requirements: str) -> InterpreterInUse:
    """Return the interpreter that runs a model of the decision in `directory`.

    `python` is a path, relative to the decision, or a program; `requirements` a file, whose
    environment is made if it is not there. Raises EnvironmentUnusable. May take minutes; progress
    goes to stderr.
    """
    base = _interpreter(directory, python) if python else sys.executable
    if not requirements:
        return InterpreterInUse(base)
    path = os.path.join(directory, requirements)
    try:
        key = _key(path, base)
    except OSError as error:
        reason = f"requirements: {error.strerror or error}: {path}"
        raise EnvironmentUnusable(reason) from None
    folder = os.path.join(directory, *FOLDER)
    place = os.path.join(folder, key)
    try:
        os.makedirs(folder, 0o700, exist_ok=True)
        lock = os.open(f"{place}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise EnvironmentUnusable(f"cannot write to {folder}: {error.strerror}") from None
    try:
        _made(place, lock, path, base)
        fcntl.flock(lock, fcntl.LOCK_SH)
    except BaseException:
        os.close(lock)
        raise
    _remove_unused(folder, key)
    return InterpreterInUse(_python_of(place), lock)


def _interpreter(directory: str, python: str) -> str:
    """Return the path of an interpreter. Raises EnvironmentUnusable."""
    found = python
    if os.sep in python:
        # Not the real path: a link in a virtual environment is what leads to its libraries.
        found = os.path.abspath(os.path.join(directory, os.path.expanduser(python)))
    whole = shutil.which(found)
    if whole is None:
        raise EnvironmentUnusable(f"python: there is no interpreter {found}")
    return whole


def _key(path: str, base: str) -> str:
    """Return the hash of all that an environment depends on. Raises OSError."""
    real = os.path.realpath(base)
    stat = os.stat(real)
    whole = hashlib.sha256(f"{real} {stat.st_size} {stat.st_mtime_ns}\0".encode())
    for text in _texts(path, set()):
        whole.update(text + b"\0")
    return whole.hexdigest()[:20]


def _texts(path: str, seen: set[str]) -> Iterator[bytes]:
    """Yield the list, the lists that it includes, and the signs of the files that it names."""
    if path in seen:
        return
    seen.add(path)
    with open(path, "rb") as file:
        text = file.read()
    yield text
    folder = os.path.dirname(path)
    for line in text.decode("utf-8", "replace").splitlines():
        if match := _INCLUDED.match(line):
            yield from _texts(os.path.join(folder, match[1]), seen)
            continue
        words = line.split()
        local = os.path.join(folder, words[-1].removeprefix("file://")) if words else ""
        if os.path.isfile(local):
            stat = os.stat(local)
            yield f"{local} {stat.st_size} {stat.st_mtime_ns}".encode()


def _python_of(place: str) -> str:
    return os.path.join(place, "bin", "python")


def _made(place: str, lock: int, path: str, base: str) -> None:
    """Make the environment unless it is complete. Raises EnvironmentUnusable."""
    complete = os.path.join(place, COMPLETE)
    fcntl.flock(lock, fcntl.LOCK_SH)
    if not _touched(complete):
        fcntl.flock(
            lock, fcntl.LOCK_EX
        )  # waits for another process that makes it, which is bounded
        if not _touched(complete):
            shutil.rmtree(place, ignore_errors=True)
            _install(place, path, base)
            with open(complete, "wb") as file:
                os.fsync(file.fileno())


def _touched(complete: str) -> bool:
    """Note that the environment is used; return whether there is one."""
    try:
        os.utime(complete)
    except PermissionError:
        return os.path.exists(complete)
    except OSError:
        return False
    return True


def _install(place: str, path: str, base: str) -> None:
    _say(f"making an environment of {os.path.basename(path)} for {base} in {place}")
    until_s = time.monotonic() + BUILD_S
    python = _python_of(place)
    if uv := shutil.which("uv"):
        _run([uv, "venv", "--quiet", "--no-config", "--python", base, place], path, until_s)
        install = [uv, "pip", "install", "--python", python, "-r", path]
        try:
            _run(install, path, until_s)
        except EnvironmentUnusable as error:
            if not error.may_pass:
                raise
            try:  # uv does not look into its cache first when there is no network
                _run([*install, "--offline"], path, until_s)
            except EnvironmentUnusable:
                raise error from None
        return
    _run([base, "-m", "venv", place], path, until_s)
    pip = [python, "-m", "pip", "--disable-pip-version-check", "--no-input"]
    _run([*pip, "install", "-r", path], path, until_s)


def _run(command: list[str], path: str, until_s: float) -> None:
    """Run a command in the folder of the list; its output goes to stderr."""
    kept: list[str] = []

    def show(line: str) -> None:
        _say(line)
        kept[:] = [*kept[1 - _LINES_KEPT :], line]

    try:
        ended = run_program(
            command,
            timeout_s=until_s - time.monotonic(),
            directory=os.path.dirname(path) or ".",
            environment={
                key: value
                for key, value in os.environ.items()
                if key not in ("PYTHONPATH", "PYTHONHOME")
            },
            show=show,
        )
    except OSError as error:
        raise EnvironmentUnusable(f"{command[0]}: {error.strerror}", may_pass=True) from None
    said = " ".join(" ".join(kept).split())
    reason = f"the libraries of {path} cannot be installed"
    if ended.by_us:
        late = f"{reason}: {os.path.basename(command[0])} has not ended within {BUILD_S} s"
        raise EnvironmentUnusable(f"{late}: {said}" if said else late, may_pass=True)
    if ended.code:
        is_final = any(words in said.lower() for words in _FINAL)
        reason = f"{reason}: {said or how_it_ended(ended.code)}"
        raise EnvironmentUnusable(reason, may_pass=not is_final)


def _remove_unused(folder: str, own: str) -> None:
    """Remove environments that are old and in no process's use, and what was left half-made."""
    with contextlib.suppress(OSError):
        for name in os.listdir(folder):
            key, ending = os.path.splitext(name)
            if ending != ".lock" or key == own:
                continue
            lock = os.open(os.path.join(folder, name), os.O_RDWR | os.O_CLOEXEC)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if _is_unused(os.path.join(folder, key)):
                    shutil.rmtree(os.path.join(folder, key), ignore_errors=True)
            except BlockingIOError:
                continue  # in use, or being made
            finally:
                os.close(lock)


def _is_unused(place: str) -> bool:
    try:
        return time.time() - os.stat(os.path.join(place, COMPLETE)).st_mtime > UNUSED_S
    except OSError:
        return True


def _say(line: str) -> None:
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()
