"""Check that accepted JSON comes back byte for byte from every part of rdv.

The parts are HTTP, a model, the log, explain, tail, export and outcomes. All share one decision,
whose model is a program that returns the text of its data.
"""

from __future__ import annotations

import http.client
import json

import duckdb
import msgspec
import orjson
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st
from running import Decision, write_decision

from rdv.analysis.dataset.places import Recorded
from rdv.analysis.explain import explain, find_request
from rdv.analysis.export.study import export
from rdv.commands.tail import json_line
from rdv.payload import DEPTH_MAX, INTEGER_MAX, INTEGER_MIN, UnusableJson, read_json
from rdv.stream import open_stream

SCHEDULE = 'sla_ms = 30000\ndefault = "none"\n[[step]]\naccept = ["fast"]\n'
ECHO = """
import sys
for line in sys.stdin.buffer:
    head, _, rest = line.partition(b',"data":')
    sys.stdout.buffer.write(head + b',"result":{"echo":' + rest.rstrip()[:-1] + b"}}\\n")
    sys.stdout.buffer.flush()
"""

numbers = st.one_of(
    st.integers(-(2**66), 2**66).map(str),
    st.sampled_from([INTEGER_MIN - 1, INTEGER_MIN, INTEGER_MAX, INTEGER_MAX + 1]).map(str),
    st.floats(allow_nan=False, allow_infinity=False).map(repr),
    st.sampled_from(
        ["-0", "-0.0", "0.0", "1.0", "1.50", "1e2", "1E+2", "1e-400", "5e-324", "1e308"]
    ),
    st.sampled_from(["1e309", "0." + "0" * 400 + "1", "1" * 400, "0.1000000000000000055511151231"]),
)
strings = st.one_of(
    st.text(max_size=8).map(lambda text: json.dumps(text, ensure_ascii=False)),
    st.text(max_size=4).map(json.dumps),
    st.sampled_from(
        ['""', '"\\u0000"', '"\\u2028"', '"\u2028\u2029"', '"\\ud83d\\ude00"', '"\\/"']
    ),
    st.sampled_from(['"\\ud800"', '"\x7f"', '"\\"[[[\\\\"', '"data"', '"1e999"', '"NaN"']),
)
spaces = st.sampled_from(["", " ", "\n", "\r\n", "\t "])


def lists(inner):
    pairs = st.tuples(strings, inner).map(lambda pair: f"{pair[0]}:{pair[1]}")
    return st.one_of(
        st.tuples(spaces, st.lists(inner, max_size=4)).map(
            lambda parts: "[" + (parts[0] + "," + parts[0]).join(parts[1]) + "]"
        ),
        st.tuples(spaces, st.lists(pairs, max_size=4)).map(
            lambda parts: "{" + parts[0] + ",".join(parts[1]) + parts[0] + "}"
        ),
        st.tuples(st.integers(80, 101), inner).map(lambda n: "[" * n[0] + n[1] + "]" * n[0]),
    )


texts = st.recursive(numbers | strings | st.sampled_from(["null", "true"]), lists, max_leaves=10)


@pytest.fixture(scope="module")
def decision(tmp_path_factory):
    directory = tmp_path_factory.mktemp("through") / "fraud"
    decision = Decision(directory, write_decision(directory))
    (directory / "schedules" / "production.toml").write_text(SCHEDULE)
    (directory / "models" / "echo.py").write_text(ECHO)
    settings = (directory / "rdv.toml").read_text()
    command = f'command = ["{__import__("sys").executable}", "models/echo.py"]'
    (directory / "rdv.toml").write_text(settings.replace('path = "models/fast.py"', command))
    try:
        decision.start("server", "fast", "proxy-0")
        decision.await_ready()
        yield decision
    finally:
        decision.close()


class Asker:
    """Send data as a request and then as its outcome; keep what was accepted, by id."""

    def __init__(self, port: int) -> None:
        self._link = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        self.close = self._link.close
        self.taken: dict[str, bytes] = {}

    def post(self, path: str, body: bytes) -> tuple[int, bytes]:
        self._link.request("POST", path, body, {"Content-Type": "application/json"})
        response = self._link.getresponse()
        return response.status, response.read()

    def ask(self, text: bytes) -> None:
        line = text.strip().replace(b"\n", b" ").replace(b"\r", b" ")
        status, answer = self.post("/v1/decide", b'{"data":' + text + b',"key":"k"}')
        inner = (
            b'{"schedule":{"sla_ms":30000,"step":[{"accept":["nobody"],"until_ms":1}],"default":'
        )
        other, defaulted = self.post("/v1/decide", inner + text + b'},"data":1}')
        try:
            value = read_json(text)
        except UnusableJson as error:
            kind = error.kind
        else:
            kind = ""
        if kind:
            assert orjson.loads(answer)["error"]["code"] == kind
            told, _ = self.post("/v1/outcomes", b'{"id":"x","outcome":' + text + b"}")
            assert {status, other, told} == {400 if kind == "malformed_json" else 422}
            return
        assert status == 200, answer
        depth_of_result = 1 + _depth(value)
        if depth_of_result > DEPTH_MAX:  # the model wraps it in an object
            assert orjson.loads(answer)["result"] == "none"
            return
        assert b'"result":{"echo":' + line + b"}" in answer
        if other == 200:
            assert orjson.loads(defaulted)["result"] == value
        else:
            assert depth_of_result >= DEPTH_MAX
        id_ = orjson.loads(answer)["id"]
        told = b'{"id":"%b","outcome":%b}' % (id_.encode(), text)
        assert self.post("/v1/outcomes", told)[0] == 202
        self.taken[id_] = line


def _depth(value) -> int:
    if not isinstance(value, (list, dict)):
        return 0
    items = value.values() if isinstance(value, dict) else value
    return 1 + max(map(_depth, items), default=0)


def test_what_is_taken_comes_back_byte_for_byte(decision, tmp_path, request):
    asker = Asker(decision.port)
    request.addfinalizer(asker.close)

    @given(texts)
    @example('{"a":1,"a":2,"":{"":[]}}')
    @example("[1,\n 2,\r\n {\t}]")
    @example("[" * 99 + "]" * 99)
    @example(f"[{INTEGER_MAX},{INTEGER_MIN},1e2,-0.0,5e-324]")
    @settings(
        max_examples=25,
        deadline=None,
        derandomize=True,
        phases=(Phase.explicit, Phase.generate),
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )
    def ask(text):
        asker.ask(text.encode())

    ask()
    taken = asker.taken
    assert len(taken) > 8
    result = {id_: b'{"echo":' + line + b"}" for id_, line in taken.items()}
    directory = str(decision.directory)
    with Recorded(directory) as recorded:
        for id_ in list(taken)[:10]:
            story = explain(recorded, find_request(recorded, id_)).as_json()
            assert bytes(story["request"]["data"]) == taken[id_]
            assert bytes(story["result"]["result"]) == result[id_]
            assert bytes(story["outcomes"][0]["outcome"]) == taken[id_]
            (report,) = [one for one in story["reports"] if one["model"] == "fast"]
            assert bytes(report["answer"]) == result[id_]
        export(recorded, str(tmp_path / "out"))
    columns = {"input": ("data", taken), "scores": ("result", result)}
    columns |= {"results": ("result", result), "outcomes": ("outcome", taken)}
    for table, (column, wanted) in columns.items():
        place = tmp_path / "out" / table
        rows = pq.read_table(place, columns=["id", column]).to_pydict()
        found = dict(zip(rows["id"], rows[column], strict=True))
        assert {id_: found[id_].encode() for id_ in wanted} == wanted, table
        query = f"select id, {column} from read_parquet('{place}/**/*.parquet')"
        found = dict(duckdb.sql(query).fetchall())
        assert {id_: found[id_].encode() for id_ in wanted} == wanted, table
    with open_stream(f"{directory}/input") as stream, stream.consumer() as reader:
        for record in reader.poll(10_000):
            line = msgspec.json.decode(json_line(record), type=dict[str, msgspec.Raw])
            value = msgspec.json.decode(line["value"], type=dict[str, msgspec.Raw])
            id_ = msgspec.json.decode(value["id"])
            assert bytes(value["data"]) == taken.get(id_, bytes(value["data"]))
