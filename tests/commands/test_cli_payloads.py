"""Check every way of data into and out of one `rdv serve`.

The same bytes come out, or the same refusal comes back, and no command ends with a traceback.
"""

from __future__ import annotations

import http.client
import json
import os
import sys
from pathlib import Path
from subprocess import DEVNULL, PIPE, Popen

import msgspec
import orjson
import pyarrow.parquet as pq
import pytest
from cli_kit import Served
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from ports import free_port

from rdv.payload import DEPTH_MAX, UnusableJson, read_json
from rdv.rendezvous.messages import one_line

pytestmark = [pytest.mark.timeout(600)]

SCHEDULE = 'sla_ms = 60000\ndefault = "none"\n[[step]]\naccept = ["{}"]\n'
COMMAND = """
import sys
for line in sys.stdin.buffer:
    head, _, rest = line.partition(b',"data":')
    sys.stdout.buffer.write(head + b',"result":' + rest.rstrip()[:-1] + b"}\\n")
    sys.stdout.buffer.flush()
"""
PYTHON = """
def predict(rows):
    return rows
"""
TAKEN = [
    *(str(n) for n in (0, -1, 2**53 + 1, 2**63 - 1, 2**63, 2**64 - 1, -(2**63))),
    *("-0", "-0.0", "0.0", "1.0", "1.50", "1e2", "1E+2", "1e308", "-1e308", "1e-308", "1e-320"),
    *("5e-324", "1e-999", "0.1000000000000000055", "1.7976931348623157e308", "4.35e-07"),
    *("0.30000000000000004", "123456789012345678.5", "9007199254740993.0", "2.5E-3"),
    *('""', '"\\u0000"', '"\\u001f"', '"\\ud83d\\ude00"', '"😀"', '"\u2028\u2029\x7f\x85"'),
    *('"\\/"', '"/"', '"\\u0041"', '"\\\\u0041"', '"\ufeff"', '"\\ufeff"', '"e\u0301"', '"\\r\\n"'),
    *('{"a":1,"a":2}', '{"b":1,"a":2}', '{"":{"":[]}}', '{"\\u0061":1,"a":2}', '{"\\u0000":1}'),
    *(
        "[]",
        "{}",
        "[null]",
        "true",
        "false",
        "[[],[[]],{}]",
        '{"data":1,"result":2,"id":"x","v":1}',
    ),
    *('"\\"}],\\\\"', "[ 1 ,\t2 ,\r\n 3 ]", ' {\n "a" : [ ] \n} ', "\t7\r\n", '{"error":"no"}'),
    *("[" * DEPTH_MAX + "]" * DEPTH_MAX, '{"a":' * DEPTH_MAX + "1" + "}" * DEPTH_MAX),
    *("[" + ",".join(["0"] * 20_000) + "]", '"' + "x" * 60_000 + '"', '{"refusal":"behind"}'),
]
REFUSED = {
    **dict.fromkeys(map(str, (2**64, -(2**63) - 1, 10**400, -(10**30))), "number_out_of_range"),
    **dict.fromkeys(("1e309", "-1e400", "9" * 400 + ".0"), "number_out_of_range"),
    "[" * (DEPTH_MAX + 1) + "]" * (DEPTH_MAX + 1): "nested_too_deeply",
    '{"a":' * (DEPTH_MAX + 1) + "1" + "}" * (DEPTH_MAX + 1): "nested_too_deeply",
    **dict.fromkeys(("NaN", "Infinity", "-Infinity", "01", "1.", ".5", "+1"), "malformed_json"),
    **dict.fromkeys(('"\\ud800"', '"\\udc00\\ud800"', '"\\x41"', '"\t"', "'a'"), "malformed_json"),
    **dict.fromkeys(("[1,]", "{a:1}", "[1 2]", "tru", "", "[", "// 1\n1"), "malformed_json"),
    "\ufeff1": "malformed_json",
    "\u00a01": "malformed_json",
}

generated = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=8),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"]), max_size=3), inner)
    ),
    max_leaves=8,
)
texts = st.tuples(generated, st.sampled_from([None, 1]), st.booleans()).map(
    lambda parts: json.dumps([parts[0]], indent=parts[1], ensure_ascii=parts[2])
)


class Told:
    """Send requests and outcomes; keep the text of each accepted request, by id."""

    def __init__(self, directory: Path, port: int) -> None:
        self.directory = str(directory)
        self.port = port
        self.taken: dict[str, bytes] = {}
        self._link = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
        self.close = self._link.close

    def post(self, path: str, body: bytes) -> tuple[int, bytes]:
        self._link.request("POST", path, body, {"Content-Type": "application/json"})
        response = self._link.getresponse()
        return response.status, response.read()

    def ask(self, text: str, more: bytes = b"") -> tuple[str, bytes]:
        """Send a request; return its id and result, or the code of its refusal and no bytes."""
        status, answer = self.post("/v1/decide", b'{"data":' + text.encode() + more + b"}")
        if status != 200:
            return orjson.loads(answer)["error"]["code"], b""
        got = msgspec.json.decode(answer, type=dict[str, msgspec.Raw])
        return msgspec.json.decode(got["id"]), bytes(got["result"])

    def tell(self, id_: str, text: str) -> str:
        """Send an outcome; return the code of its refusal, or an empty string."""
        told = b'{"id":"' + id_.encode() + b'","outcome":' + text.encode() + b"}"
        status, answer = self.post("/v1/outcomes", told)
        return "" if status == 202 else orjson.loads(answer)["error"]["code"]


def recorded(text: str) -> bytes:
    """Return the text as the log has it: on one line, without the space around it."""
    return one_line(text.encode().strip(b" \t\r\n"))


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    directory = tmp_path_factory.mktemp("payloads") / "fraud"
    for folder in ("models", "schedules"):
        (directory / folder).mkdir(parents=True)
    for name in ("text", "rows"):
        (directory / "schedules" / f"by-{name}.toml").write_text(SCHEDULE.format(name))
    (directory / "models" / "text.py").write_text(COMMAND)
    (directory / "models" / "rows.py").write_text(PYTHON)
    port = free_port()
    (directory / "rdv.toml").write_text(
        f'schedule = "by-text"\n[http]\nport = {port}\n'
        f'[models.text]\ncommand = ["{sys.executable}", "models/text.py"]\n'
        '[models.rows]\npath = "models/rows.py"\n'
    )
    command = [sys.executable, "-m", "rdv", "serve", str(directory)]
    with Popen(command, stdin=DEVNULL, stdout=DEVNULL, stderr=PIPE) as process:
        served, told = Served(process), Told(directory, port)
        try:
            served.up()
            ask_everything(told)
            yield told
        finally:
            told.close()
            code = served.end()
        assert code == 0
        assert not any("Traceback" in line for line in served.lines), served.lines


def ask_everything(told: Told) -> None:
    def ask(text: str) -> None:
        id_, result = told.ask(text)
        assert result == recorded(text), text
        told.taken[id_] = result

    @given(texts)
    @settings(
        max_examples=40,
        deadline=None,
        derandomize=True,
        phases=(Phase.generate,),
        suppress_health_check=list(HealthCheck),
    )
    def ask_generated(text: str) -> None:
        ask(text)

    for text in TAKEN:
        ask(text)
    ask_generated()
    for id_, text in told.taken.items():
        assert told.tell(id_, text.decode()) == ""


def test_a_python_model_gets_the_values_and_its_answers_are_json(served):
    for text in TAKEN:
        _, result = served.ask(text, b',"schedule":"by-rows"')
        expected = orjson.dumps(orjson.loads(text))
        assert result == expected


@pytest.mark.parametrize("text", REFUSED)
def test_what_is_refused_is_refused_everywhere_with_one_code(served, rdv, tmp_path, text):
    code = REFUSED[text]
    with pytest.raises(UnusableJson) as caught:
        read_json(text)
    assert caught.value.code() == code
    assert served.ask(text) == (code, b"")
    assert served.tell("x", text) == code
    inline = '{"sla_ms":9,"step":[{"accept":["text"]}],"default":' + text + "}"
    assert served.ask("1", b',"schedule":' + inline.encode()) == (code, b"")
    rows = tmp_path / "rows.jsonl"
    rows.write_bytes(recorded(text) + b"\n")
    told = tmp_path / "told.jsonl"
    told.write_bytes(b'{"id":"x","outcome":' + recorded(text) + b"}\n")
    for command, stdin in [
        (("ask", served.directory, "-"), text.encode()),
        (("ask", served.directory, "1", "--schedule", inline), b""),
        (("load", served.directory, "--data", rows, "--duration", "1s"), b""),
        (("outcome", served.directory, "--from", told), b""),
    ]:
        if not text and command[0] in ("load", "outcome"):
            continue  # blank lines are ignored
        done = rdv(*command, "--json", stdin=stdin)
        assert done.code == 3, (command, done)
        (line,) = done.err.splitlines()
        assert json.loads(line)["error"]["code"] == code, line


def test_the_default_of_an_inline_schedule_keeps_its_keys_in_order(served, rdv):
    for default in ('{"b":1,"a":{"d":2,"c":3}}', '{"a":{"c":3,"d":2},"b":1}') * 2:
        inline = '{"step":[{"accept":["nobody"],"until_ms":1}],"default":%s,"sla_ms":60000}'
        _, result = served.ask("1", b',"schedule":' + (inline % default).encode())
        assert result == default.encode()
    assert rdv("verify", served.directory).code == 0


def test_words_that_are_not_utf_8_are_refused(served, rdv):
    bad = os.fsdecode(b"caf\xe9")
    ask, outcome = ("ask", served.directory, "1"), ("outcome", served.directory)
    for command in [
        (*ask, "--key", bad),
        (*ask, "--schedule", bad),
        (*ask, "--schedule", f'{{"default":"{bad}"}}'),
        ("ask", served.directory, f'"{bad}"'),
        (*outcome, bad, "1"),
        (*outcome, "x", bad),
        (*outcome, "x", f'"{bad}"'),
        (*outcome, "--from", bad),
        ("status", bad),
        ("explain", served.directory, bad),
        ("tail", f"{served.directory}/input:{bad}"),
        ("schedule", "show", served.directory, bad),
        ("whatif", served.directory, "--schedule", bad),
        ("compare", served.directory, "text", bad),
    ]:
        done = rdv(*command, "--json")
        assert done.code in (1, 2, 3), (command, done)
        assert json.loads(done.err)["error"]["message"], (command, done)


def test_ask_and_load_send_the_text_as_it_is(served, rdv, tmp_path):
    for text in TAKEN:
        done = rdv("ask", served.directory, "-", stdin=text.encode())
        assert done.code == 0, done
        answer = msgspec.json.decode(done.out.encode(), type=dict[str, msgspec.Raw])
        assert bytes(answer["result"]) == recorded(text)
        served.taken[msgspec.json.decode(answer["id"])] = recorded(text)
        assert rdv("outcome", served.directory, msgspec.json.decode(answer["id"]), text).code == 0
    rows = tmp_path / "rows.jsonl"
    lines = [recorded(text) for text in TAKEN]
    rows.write_bytes(b"".join(line + b"\n" for line in lines))
    arguments = ("--data", rows, "--rate", 40, "--duration", "3s", "--json")
    done = rdv("load", served.directory, *arguments)
    assert done.code == 0, done
    out = rdv("tail", f"{served.directory}/input", "-n", "200", "--json").out
    asked = [msgspec.json.decode(line, type=Line).value for line in out.encode().splitlines()]
    assert {*lines} <= {bytes(msgspec.json.decode(v, type=Asked).data) for v in asked}


class Line(msgspec.Struct):
    value: msgspec.Raw
    topic: str


class Noted(msgspec.Struct):
    outcome: msgspec.Raw


class Asked(msgspec.Struct):
    id: str = ""
    data: msgspec.Raw = msgspec.Raw(b"")
    result: msgspec.Raw = msgspec.Raw(b"")
    outcome: msgspec.Raw = msgspec.Raw(b"")


def test_tail_explain_and_export_give_the_text_back(served, rdv, tmp_path):
    taken = served.taken
    for id_, text in list(taken.items()):
        done = rdv("explain", served.directory, id_, "--json")
        assert done.code == 0, done
        story = msgspec.json.decode(done.out.encode(), type=dict[str, msgspec.Raw])
        request = msgspec.json.decode(story["request"], type=Asked)
        assert bytes(request.data) == text
        assert bytes(msgspec.json.decode(story["result"], type=Asked).result) == text
        (outcome,) = msgspec.json.decode(story["outcomes"], type=list[Noted])
        assert bytes(outcome.outcome) == text
    for stream, field in [("input", "data"), ("results", "result"), ("outcomes", "outcome")]:
        done = rdv("tail", f"{served.directory}/{stream}", "-n", 10_000, "--json")
        assert done.code == 0, done
        found = {}
        for line in done.out.encode().splitlines():
            record = msgspec.json.decode(msgspec.json.decode(line, type=Line).value, type=Asked)
            found[record.id] = bytes(getattr(record, field))
        assert {id_: found[id_] for id_ in taken} == taken, stream
        raw = rdv("tail", f"{served.directory}/{stream}", "-n", 10_000, "--format", "raw")
        assert all(text.decode() in raw.out for text in taken.values())
        assert rdv("tail", f"{served.directory}/{stream}", "--format", "table").code == 0
    done = rdv("export", served.directory, "-o", tmp_path / "out")
    assert done.code == 0, done
    columns = {"input": "data", "results": "result", "outcomes": "outcome", "joined": "data"}
    for table, column in columns.items():
        rows = pq.read_table(tmp_path / "out" / table, columns=["id", column]).to_pydict()
        found = dict(zip(rows["id"], rows[column], strict=True))
        assert {id_: found[id_].encode() for id_ in taken} == taken, table


def test_every_command_that_evaluates_takes_what_was_taken(served, rdv, tmp_path):
    directory = served.directory
    model = tmp_path / "again.py"
    model.write_text(PYTHON)
    commands = [
        ("verify", directory),
        ("whatif", directory, "--schedule", "by-rows", "-o", tmp_path / "whatif.parquet"),
        ("compare", directory, "text", "rows"),
        ("promote", directory, "rows", "--min-requests", "1"),
        ("optimise", directory),
        ("replay", directory, "--model", model, "-o", tmp_path / "replayed.parquet"),
        ("replay", directory, "--speed", "2", "--", sys.executable, f"{directory}/models/text.py"),
        ("status", directory),
    ]
    for command in commands:
        done = rdv(*command)
        assert done.code in (0, 1, 3, 99), (command, done)
        assert "Traceback" not in done.err
        as_json = rdv(*command[:2], "--json", *command[2:])
        assert as_json.code == done.code, (command, as_json)
        for line in as_json.out.split("\n")[:-1]:
            json.loads(line)
    rows = pq.read_table(tmp_path / "replayed.parquet").to_pydict()
    found = dict(zip(rows["id"], rows["result"], strict=True))
    wanted = {id_: orjson.dumps(orjson.loads(text)) for id_, text in served.taken.items()}
    assert {id_: found[id_].encode() for id_ in wanted} == wanted
    rows = pq.read_table(tmp_path / "whatif.parquet").to_pydict()
    assert set(served.taken) <= set(rows["id"])
