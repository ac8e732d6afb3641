"""Check that unusual models answer the same in every stage; a broken one is only missing."""

from __future__ import annotations

import http.client
import re
import select
from pathlib import Path

import orjson
import pytest
from cli_kit import Served

from rdv.stream import open_stream

# Models that do unusual things, with `answer(row)` and perhaps `load`. MISSING ones do not start.
ODD = {
    "sqlite": """
import sqlite3
def load():
    global db
    db = sqlite3.connect(":memory:")
    db.execute("create table t (x int)")
    db.execute("insert into t values (7)")
def answer(row):
    return {"x": db.execute("select x from t").fetchone()[0] + row["n"]}
def close():
    db.close()
""",
    "local": """
import threading
here = threading.local()
here.imported = threading.get_ident()
def load():
    here.loaded = threading.get_ident()
def answer(row):
    return {"same": here.imported == here.loaded == threading.get_ident()}
""",
    "signals": """
import signal
def load():
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGALRM, signal.SIGUSR1):
        signal.signal(number, lambda *_: None)
def answer(row):
    signal.alarm(0)
    return {"n": row["n"]}
""",
    "async": """
import asyncio
def load():
    global loop
    loop = asyncio.new_event_loop()
async def double(n):
    await asyncio.sleep(0)
    return 2 * n
def answer(row):
    return {"a": asyncio.run(double(row["n"])), "b": loop.run_until_complete(double(row["n"]))}
""",
    "fork": """
import os
def answer(row):
    reader, writer = os.pipe()
    if not (pid := os.fork()):
        os.write(writer, b"from the child")
        if row["n"] % 2:
            raise SystemExit(0)  # it comes back from predict
        os._exit(0)
    os.waitpid(pid, 0)
    found = os.read(reader, 100).decode()
    os.close(reader)
    os.close(writer)
    return {"said": found}
""",
    "pool": """
import multiprocessing
def square(n):
    return n * n
def answer(row):
    with multiprocessing.get_context("fork").Pool(1) as pool:
        return {"square": pool.map(square, [row["n"]])}
""",
    "prints": """
import os, sys
def answer(row):
    print("printed")
    os.write(1, b"written")
    try:
        return {"said": input()}
    except EOFError:
        return {"said": None, "stdin": sys.stdin.read()}
""",
    "exit": """
import sys
def answer(row):
    if row["n"] == 1:
        sys.exit("enough")
    return {"n": row["n"]}
""",
    "kill": """
import os
def answer(row):
    if row["n"] == 1:
        os._exit(3)
    return {"n": row["n"]}
""",
    "chdir": """
import os
def load():
    os.chdir("/")
def answer(row):
    os.chdir("/tmp")
    return {"at": os.getcwd()}
""",
    "deep": """
def down(n):
    return down(n + 1)
def answer(row):
    if row["n"] == 1:
        down(0)
    return {"n": row["n"]}
""",
    "memory": """
def answer(row):
    if row["n"] == 1:
        raise MemoryError
    return {"n": row["n"]}
""",
    "mutates": """
def predict(rows):
    results = []
    while rows:
        row = rows.pop(0)
        row["n"] += 100
        if row["n"] == 101:
            raise ValueError("one")
        results.append({"n": row["n"]})
    return results
""",
    "import": "raise RuntimeError('at the import')",
    "load": "def load():\n    raise SystemExit(1)\ndef answer(row):\n    return {}\n",
    "syntax": "def answer(row:\n",
}
PREDICT = """
def predict(rows):
    return [answer(row) for row in rows]
"""
MISSING = {"import", "load", "syntax"}


@pytest.fixture
def odd(decision: Path) -> Path:
    """Create a decision with all models; each has its own schedule, the live one accepts all."""
    text = re.sub(r"(?ms)^\[models\..*", "", (decision / "rdv.toml").read_text())
    for path in (decision / "schedules").glob("*.toml"):
        path.unlink()
    for name, source in ODD.items():
        text += f'\n[models.{name}]\npath = "models/{name}.py"\nbatch_max = 8\n'
        body = source if "def predict" in source else source + PREDICT
        (decision / "models" / f"{name}.py").write_text(body)
        schedule = f'sla_ms = 20000\ndefault = {{ none = 0 }}\n[[step]]\naccept = ["{name}"]\n'
        (decision / "schedules" / f"{name}.toml").write_text(schedule)
    schedule = 'sla_ms = 20000\ndefault = { none = 0 }\n[[step]]\naccept = ["*"]\n'
    (decision / "schedules/all.toml").write_text(schedule)
    text = re.sub(r"(?m)^#?schedule = .*", 'schedule = "all"', text, count=1)
    (decision / "rdv.toml").write_text(text)
    return decision


OPENED: list[http.client.HTTPConnection] = []


@pytest.fixture(autouse=True)
def close_connections():
    yield
    while OPENED:
        OPENED.pop().close()


def connect(decision: Path) -> http.client.HTTPConnection:
    port = int(re.search(r"(?m)^port = (\d+)", (decision / "rdv.toml").read_text())[1])
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    OPENED.append(connection)
    return connection


def answers(
    connection: http.client.HTTPConnection, name: str, *, is_dying: bool = False
) -> list[object]:
    """Return kind and result of three requests."""
    found = []
    for n in range(3):
        if is_dying:
            await_all(connection)  # wait until a worker that has ended is up again
        body = orjson.dumps({"data": {"n": n}, "schedule": name, "models": [name]})
        headers = {"Content-Type": "application/json"}
        connection.request("POST", "/v1/decide", body, headers)
        answer = orjson.loads(connection.getresponse().read())
        found.append((answer["kind"], answer["result"]))
    return found


def ready(connection: http.client.HTTPConnection) -> tuple[int, dict]:
    connection.request("GET", "/readyz")
    response = connection.getresponse()
    return response.status, orjson.loads(response.read())


def await_all(connection: http.client.HTTPConnection) -> None:
    """Wait until all models that can start are up; the live schedule accepts all of them."""
    while not set(ready(connection)[1]["missing"]) <= MISSING:
        select.select([], [], [], 0.05)


def expected(name: str) -> list[object]:
    default = ("default", {"none": 0})
    good = {
        "sqlite": [{"x": 7}, {"x": 8}, {"x": 9}],
        "local": [{"same": True}] * 3,
        "signals": [{"n": 0}, {"n": 1}, {"n": 2}],
        "async": [{"a": 0, "b": 0}, {"a": 2, "b": 2}, {"a": 4, "b": 4}],
        "fork": [{"said": "from the child"}] * 3,
        "pool": [{"square": [0]}, {"square": [1]}, {"square": [4]}],
        "prints": [{"said": None, "stdin": ""}] * 3,
        "chdir": [{"at": "/tmp"}] * 3,
        "mutates": [{"n": 100}, None, {"n": 102}],
    }.get(name, [{"n": 0}, None, {"n": 2}])
    if name in MISSING:
        return [default] * 3
    return [default if result is None else ("preferred", result) for result in good]


def test_all_at_once_in_full_and_in_one_process(odd, start):
    for stage in ((), ("--in-process",)):
        served = Served(start("serve", odd, *stage))
        served.until("listening on")
        connection = connect(odd)
        await_all(connection)
        for name in ODD:
            found = answers(connection, name, is_dying=name == "kill")
            assert found == expected(name), (stage, name)
        assert ready(connection)[0] == 200
        connection.close()
        assert served.end() == 0
        assert served.process.stdout.read() == b""
        for name in MISSING:
            assert any(f"model {name!r}" in line for line in served.lines), (stage, name)


@pytest.mark.parametrize(
    "name", ["sqlite", "local", "signals", "fork", "kill", "mutates", "import"]
)
def test_each_model_served_directly(odd, start, name):
    settings = odd / "rdv.toml"
    settings.write_text(settings.read_text().replace('schedule = "all"', f'schedule = "{name}"'))
    served = Served(start("serve", odd, "--direct", name))
    served.until("listening on")
    connection = connect(odd)
    assert answers(connection, name) == expected(name)
    connection.request("GET", "/readyz")
    response = connection.getresponse()
    body = orjson.loads(response.read())
    if name in MISSING:
        assert (response.status, body["status"], body["missing"]) == (503, "no_model", [name])
        headers = {"Content-Type": "application/json"}
        connection.request("POST", "/v1/decide", b'{"data": {"n": 1}}', headers)
        assert "at the import" in orjson.loads(connection.getresponse().read())["reason"]
    else:
        assert (response.status, body["up"]) == (200, [name])
    connection.close()
    assert served.end() == 0


def test_readiness_follows_ready_when(odd, start):
    """The setting `ready_when` decides whether readiness requires a model of the live schedule."""
    settings = odd / "rdv.toml"
    text = settings.read_text().replace('schedule = "all"', 'schedule = "load"')
    settings.write_text(text)
    served = Served(start("serve", odd))
    served.until("answers at")
    connection = connect(odd)

    status, body = ready(connection)
    assert (status, body["status"], body["up"], body["missing"]) == (503, "no_model", [], ["load"])
    assert body["error"]["code"] == "no_model"
    assert "load" in body["error"]["message"]
    settings.write_text(
        text.replace("#ready_when", "ready_when").replace(
            'ready_when = "model"', 'ready_when = "serving"'
        )
    )
    while ready(connection)[0] != 200:
        pass
    settings.write_text(text.replace('schedule = "load"', 'schedule = "sqlite"'))
    while "sqlite" not in ready(connection)[1]["up"]:
        pass
    connection.close()
    assert served.end() == 0


def test_an_enricher_has_one_thread_for_its_import_and_its_calls(odd, start):
    (odd / "models/profile.py").write_text(
        "import sqlite3\ndb = sqlite3.connect(':memory:')\ndb.execute('create table t (x)')\n"
        "def enrich(data):\n    db.execute('insert into t values (1)')\n"
        "    return {'n': data['n'] + 40}\n"
    )
    settings = odd / "rdv.toml"
    text = settings.read_text().replace('#enrich = ""', 'enrich = "models/profile.py:enrich"')
    settings.write_text(text.replace("#enrich_timeout_ms = 5", "enrich_timeout_ms = 5000"))
    for stage in ((), ("--in-process",)):
        served = Served(start("serve", odd, *stage))
        served.until("listening on")
        connection = connect(odd)
        await_all(connection)
        found = answers(connection, "chdir"), answers(connection, "signals")
        assert found[1] == [("preferred", {"n": n}) for n in (40, 41, 42)], stage
        connection.close()
        assert served.end() == 0


def test_the_requests_in_flight_in_a_dead_worker_are_recorded_as_errors(odd, start):
    served = Served(start("serve", odd))
    served.until("answers at")
    connection = connect(odd)
    await_all(connection)
    answers(connection, "kill")
    connection.close()
    assert served.end() == 0
    with open_stream(str(odd / "scores")) as stream, stream.consumer(["kill"]) as reader:
        scores = [orjson.loads(record.value) for record in reader.poll(100)]
    assert [s["code"] for s in scores if "error" in s] == ["worker_ended"]
