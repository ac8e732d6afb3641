"""Check features from a real Redis server: read, cached, stale, null, and in the log."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest
from debian import debian_program
from echo import Echo
from ports import free_port
from redis import Redis
from redis.exceptions import ConnectionError as NotUp

EXAMPLE = Path(__file__).parents[2] / "examples/redis-enricher"


@pytest.fixture(scope="module")
def program():
    """Return the server's program; Debian's package is installed where it is missing."""
    return debian_program("redis-server")


class Server:
    """Runs redis-server on a Unix socket."""

    def __init__(self, program: str, directory: Path) -> None:
        self.socket = directory / "redis.sock"
        self._command = [
            program, "--port", "0", "--unixsocket", str(self.socket), "--save", "",
            "--dir", str(directory),
        ]  # fmt: skip
        self.redis = Redis(unix_socket_path=str(self.socket))
        self.start()

    def start(self) -> None:
        self._process = subprocess.Popen(self._command, stdout=subprocess.DEVNULL)
        end_s = time.monotonic() + 60
        while True:
            try:
                self.redis.ping()
                return
            except NotUp:
                assert time.monotonic() < end_s
                time.sleep(0.01)

    def signal(self, number: int) -> None:
        self._process.send_signal(number)

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()


@pytest.fixture(scope="module")
def server(program, tmp_path_factory):
    running = Server(program, tmp_path_factory.mktemp("redis"))
    yield running
    running.kill()


@pytest.fixture(scope="module")
def decision(server, tmp_path_factory):
    """Serve the example."""
    directory = tmp_path_factory.mktemp("example") / "d"
    shutil.copytree(EXAMPLE, directory)
    port = free_port()
    settings = (directory / "rdv.toml").read_text()
    settings = settings.replace("8100", str(port)).replace("timeout_ms = 20", "timeout_ms = 500")
    settings = settings.replace("redis://127.0.0.1:6379/0", f"unix://{server.socket}")
    (directory / "rdv.toml").write_text(settings.replace("cache_ms = 1000", "cache_ms = 0"))
    schedule = directory / "schedules/production.toml"
    schedule.write_text(schedule.read_text().replace("200", "20000"))
    running = Echo(directory, port)
    try:
        running.start("server", "proxy-0")
        running.processes["risk"] = running.start_process(
            "risk", ["worker", str(directory), "risk"]
        )
        running.await_ready()
        yield running
    finally:
        running.close()


def saw(decision, key, **data):
    body = {"data": {"amount": 40, **data}}
    status, answer = decision.ask(body if key is None else {**body, "key": key})
    assert status == 200
    assert answer["kind"] == "preferred"
    return answer["result"]["saw"], answer


def test_the_features_are_served_and_recorded(decision, server):
    server.redis.hset("user:ann", mapping={"spent": "812.5", "n": "3", "name": "Ann", "ok": "true"})
    row, answer = saw(decision, "ann")
    assert row["features"] == {"spent": 812.5, "n": 3, "name": "Ann", "ok": True}
    assert row["features_stale"] is False
    (line,) = [v for _, v in decision.lines("input") if answer["id"].encode() in v]
    assert json.loads(line)["data"] == row


def test_an_unknown_key_and_none_at_all(decision):
    assert saw(decision, "nobody")[0]["features"] == {}
    row = saw(decision, None)[0]
    assert (row["features"], row["features_stale"]) == (None, False)


def test_a_wrong_type_is_null_and_marked(decision, server):
    server.redis.set("user:text", "not a hash")
    row = saw(decision, "text")[0]
    assert (row["features"], row["features_stale"]) == (None, True)


def test_a_server_that_hangs_or_is_killed_leaves_the_last_known_features(decision, server):
    server.redis.hset("user:bob", mapping={"n": "1"})
    assert saw(decision, "bob")[0]["features"] == {"n": 1}
    server.signal(signal.SIGSTOP)
    row = saw(decision, "bob")[0]
    assert (row["features"], row["features_stale"]) == ({"n": 1}, True)
    server.signal(signal.SIGCONT)
    server.kill()
    for _ in range(8):
        row = saw(decision, "bob")[0]
        assert (row["features"], row["features_stale"]) == ({"n": 1}, True)
    assert saw(decision, "new")[0]["features"] is None
    server.start()
    server.redis.hset("user:bob", mapping={"n": "2"})
    fresh = {"n": 2}
    end_s = time.monotonic() + 60
    while saw(decision, "bob")[0]["features"] != fresh:
        assert time.monotonic() < end_s
        time.sleep(0.05)


def test_several_rows_have_their_own_features(decision, server):
    for number in range(30):
        server.redis.hset(f"user:{number}", mapping={"n": number})
    rows = [{"data": {"amount": 1}, "key": number} for number in range(30)]
    status, answer = decision.ask({"rows": rows})
    assert status == 200
    found = [one["result"]["saw"]["features"] for one in answer["answers"]]
    assert found == [{"n": number} for number in range(30)]
