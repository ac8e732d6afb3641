"""Run the examples of containers by podman: a model in one, and rdv itself in one.

No image can be pulled here. The model's is made from nothing but its program. Instead of Python's
image there is an empty one, into which the directories of this machine's Python are mounted.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import orjson
import pytest
from debian import install
from ports import free_port
from waiting import wait_until

from rdv.models import ModelError, evaluate, open_model
from rdv.system.cgroup import places

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"
BLOCK = re.compile(r"```sh\n(.*?)```", re.DOTALL)
PROGRAMS = {"podman": "podman", "runc": "runc", "catatonit": "catatonit", "go": "golang-go"}
"""The programs, and the packages of Debian that have them."""
ULIMITS = ["--ulimit", "nofile=4096:4096", "--ulimit", "nproc=1024:1024"]
"""In a sandbox podman may not raise these limits, which it does otherwise."""


def installed(program: str) -> bool:
    return bool(shutil.which(program)) or os.path.exists(f"/usr/libexec/podman/{program}")


@pytest.fixture(scope="module")
def podman() -> list[str]:
    """Return the command of podman; Debian's packages are installed where they are missing."""
    if missing := [package for name, package in PROGRAMS.items() if not installed(name)]:
        install(*missing, recommended=True)
    found = places(*(Path(f"/proc/self/{name}").read_text() for name in ("cgroup", "mountinfo")))
    # crun refuses cgroups of both versions.
    is_old = any(place.version == 1 for place in found.values())
    return ["podman", *(["--runtime", "runc"] if is_old else [])]


def done(*words: object, **settings) -> str:
    """Run a command; fail with what it has said."""
    ran = subprocess.run(
        list(map(str, words)), capture_output=True, text=True, check=False, timeout=300, **settings
    )
    assert ran.returncode == 0, f"{shlex.join(map(str, words))}\n{ran.stdout}{ran.stderr}"
    return ran.stdout.strip()


def commands(example: str) -> list[list[str]]:
    """Return the commands of a README as lists of words."""
    text = (EXAMPLES / example / "README.md").read_text()
    return [shlex.split(line) for block in BLOCK.findall(text) for line in block.splitlines()]


@pytest.fixture(scope="module")
def image(podman: list[str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Build the image of the Go example, as its README says."""
    place, name = tmp_path_factory.mktemp("go"), f"localhost/limit-{os.getpid()}"
    shutil.copytree(EXAMPLES / "go", place, dirs_exist_ok=True)
    environ = {**os.environ, "CGO_ENABLED": "0", "GOTOOLCHAIN": "local"}
    build, make = commands("go")[3:5]
    assert build[0] == "CGO_ENABLED=0"
    assert make == ["podman", "build", "-t", "localhost/limit", "."]
    done(*build[1:], cwd=place, env=environ)
    done(*podman, *make[1:3], name, ".", cwd=place)
    yield name
    done(*podman, "rmi", "-f", name)


def command(podman: list[str], image: str) -> list[str]:
    """Return the README's command of the model, with what this machine needs besides."""
    words = commands("go")[-1]
    at = words.index("podman")
    assert words[at : at + 2] == ["podman", "run"]
    assert words[-1] == "localhost/limit"
    return [*podman, "run", *ULIMITS, *words[at + 2 : -1], image]


def containers(podman: list[str], image: str) -> list[str]:
    return done(*podman, "ps", "-q", "--filter", f"ancestor={image}").split()


def test_a_model_in_a_container_answers_within_its_limits(podman, image, tmp_path):
    model = open_model(
        str(tmp_path), "limit", command=command(podman, image), start_timeout_ms=120_000
    )
    try:
        good, bad = evaluate(model, [b'{"amount": 9000}', b"{}"])
        assert orjson.loads(good) == {"score": 0.9, "action": "review"}
        assert isinstance(bad, ModelError)
        assert "amount is missing" in bad.reason
        (running,) = containers(podman, image)
        pid = done(*podman, "inspect", "-f", "{{.State.Pid}}", running)
        texts = (Path(f"/proc/{pid}/cgroup"), Path("/proc/self/mountinfo"))
        memory, cpu = (
            places(*(one.read_text() for one in texts))[key] for key in ("memory", "cpu")
        )
        old = memory.version == 1
        limit = Path(memory.path, "memory.limit_in_bytes" if old else "memory.max")
        quota = Path(cpu.path, "cpu.cfs_quota_us" if old else "cpu.max")
        assert int(limit.read_text()) == 64 * 1024**2
        assert int(quota.read_text().split()[0]) == 100_000
    finally:
        model.close()
    wait_until(lambda: not containers(podman, image), "the container is still there", 0.2)


def test_the_container_of_a_worker_that_is_killed_ends_by_itself(podman, image):
    with subprocess.Popen(
        command(podman, image), stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        process.stdin.write(b'{"id": 1, "data": {"amount": 10}}\n')
        process.stdin.flush()
        assert json.loads(process.stdout.readline())["result"]["action"] == "accept"
        assert len(containers(podman, image)) == 1
        process.send_signal(signal.SIGKILL)
    wait_until(lambda: not containers(podman, image), "the container is still there", 0.2)


@pytest.fixture(scope="module")
def python_image(podman: list[str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple]:
    """Return an image to build upon, and the options that mount this machine's Python into it."""
    place, name = tmp_path_factory.mktemp("base"), f"localhost/python-{os.getpid()}"
    system = [one for one in ("/usr", "/lib", "/lib64", "/bin") if os.path.isdir(one)]
    own = {str(Path(one).resolve()) for one in (sys.prefix, sys.base_prefix, ROOT)}
    own = {one for one in own if not one.startswith("/usr")}
    for one in (*system, "/etc", "/tmp", "/proc", "/dev", "/sys", *own):
        (place / f"root{one}").mkdir(parents=True, exist_ok=True)
    (place / "root/tmp").chmod(0o1777)
    (place / "root/etc/passwd").write_text(
        "root:x:0:0:root:/:/bin/sh\nrdv:x:1000:0:rdv:/:/bin/sh\n"
    )
    path = f"{sys.prefix}/bin:/usr/bin:/bin"
    (place / "Containerfile").write_text(f"FROM scratch\nCOPY root /\nENV PATH={path}\n")
    done(*podman, "build", "-t", name, ".", cwd=place)
    yield name, [word for one in (*system, *sorted(own)) for word in ("-v", f"{one}:{one}:ro")]
    done(*podman, "rmi", "-f", name)


def test_rdv_in_a_container_answers_and_stops(podman, python_image, tmp_path):
    base, mounts = python_image
    name, port = f"rdv-{os.getpid()}", free_port()
    build, init, run, ask, stop = commands("container")
    assert build == ["podman", "build", "-t", "localhost/rdv", "."]
    assert init == ["rdv", "init", "fraud"]
    more = ["--build-arg", f"BASE={base}", "--build-arg", "PACKAGES=rdv", *ULIMITS, *mounts]
    done(*podman, "build", *more, "-t", f"localhost/{name}", ".", cwd=EXAMPLES / "container")
    (tmp_path / "rules.py").write_text(
        "def predict(rows): return [{'score': 0.25} for _ in rows]\n"
    )
    make = ["--model", "rules=rules.py", "--default", '{"score": 0.0}']
    done(Path(sys.executable).parent / "rdv", *init[1:], *make, cwd=tmp_path)
    schedule = tmp_path / "fraud/schedules/production.toml"
    text = re.sub(r"(sla_ms|until_ms) = (\d+)", r"\1 = \g<2>000", schedule.read_text())
    schedule.write_text(text)
    words = [one.replace("$(id -u)", str(os.getuid())).replace("8100", str(port)) for one in run]
    at = words.index("-p")
    assert words[at + 1] == f"127.0.0.1:{port}:{port}"
    # A network of its own needs more rights than a sandbox has.
    words[at : at + 2] = ["--network", "host", "-e", f"RDV_HTTP_PORT={port}"]
    words[words.index("--name") + 1] = name
    start = [*podman, "run", *ULIMITS, *mounts, *words[2:-1], f"localhost/{name}"]
    log = tmp_path / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(start, cwd=tmp_path, stdout=output, stderr=output)
    try:
        wait_until(lambda: "listening" in log.read_text() or process.poll(), log.read_text, 0.1)
        url, body = ask[2].replace("8100", str(port)), json.loads(ask[-1])
        answer = httpx.post(url, json=body, timeout=60).json()
        assert (answer["model"], answer["result"]) == ("rules", {"score": 0.25}), log.read_text()
        done(*podman, *stop[1:-1], name)
        assert process.wait(60) == 0
        assert "stopped" in log.read_text()
    finally:
        process.kill()
        process.wait()
        done(*podman, "rm", "-f", "-i", name)
        done(*podman, "rmi", "-f", f"localhost/{name}")
