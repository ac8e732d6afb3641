"""Check the tensors of the Open Inference Protocol: values, rows, answers, and both forms."""

from __future__ import annotations

import contextlib
import json
import math

import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rdv.oip.grpc_messages import MESSAGES, read_infer, write_infer
from rdv.oip.metadata import input_tensors, output_tensors
from rdv.oip.rest import read_request, write_response
from rdv.oip.rows import keys_of, outputs_of, parameters_of, rows_of
from rdv.oip.tensor import DATATYPES, InferRequest, InferResponse, OipError, Tensor, to_binary

NUMPY = {
    "BOOL": "?", "UINT8": "u1", "UINT16": "<u2", "UINT32": "<u4", "UINT64": "<u8", "INT8": "i1",
    "INT16": "<i2", "INT32": "<i4", "INT64": "<i8", "FP16": "<f2", "FP32": "<f4", "FP64": "<f8",
}  # fmt: skip


def texts(values):
    return b"".join(len(v).to_bytes(4, "little") + v for v in (t.encode() for t in values))


@st.composite
def columns(draw):
    """Draw columns by name: a datatype and its values, as many in each."""
    count = draw(st.integers(1, 5))
    names = draw(st.lists(st.text(min_size=1, max_size=4), min_size=1, max_size=4, unique=True))
    found = {}
    for name in names:
        datatype = draw(st.sampled_from(sorted(DATATYPES)))
        if datatype == "BYTES":
            found[name] = (datatype, draw(st.lists(st.text(), min_size=count, max_size=count)))
            continue
        raw = draw(st.binary(min_size=8 * count, max_size=8 * count))
        if datatype == "BOOL":
            values = np.frombuffer(raw, "u1").astype("?")
        elif datatype == "BF16":
            values = (np.frombuffer(raw, "<u2").astype("<u4") << 16).view("<f4")
        else:
            values = np.frombuffer(raw, NUMPY[datatype])
        found[name] = (datatype, values[:count].tolist())
    return found


def packed(datatype, values):
    """Return the binary data of values, by NumPy."""
    if datatype == "BYTES":
        return texts(values)
    if datatype == "BF16":
        return (np.array(values, "<f4").view("<u4") >> 16).astype("<u2").tobytes()
    return np.array(values, NUMPY[datatype]).tobytes()


def plain(value):
    return None if isinstance(value, float) and not math.isfinite(value) else value


def wanted_rows(given_columns):
    names = list(given_columns)
    lists = [[plain(v) for v in values] for _, values in given_columns.values()]
    return [dict(zip(names, row, strict=True)) for row in zip(*lists, strict=True)]


def body_of(given_columns, *, binary):
    inputs, parts = [], []
    for name, (datatype, values) in given_columns.items():
        entry = {"name": name, "shape": [len(values), 1], "datatype": datatype}
        if binary:
            parts.append(packed(datatype, values))
            entry["parameters"] = {"binary_data_size": len(parts[-1])}
        else:
            entry["data"] = [[plain(value)] for value in values]
        inputs.append(entry)
    text = json.dumps({"inputs": inputs}).encode()
    return text + b"".join(parts), (b"%d" % len(text) if binary else None)


def is_column_input(given_columns):
    return set(given_columns) != {"data"} and "rdv_key" not in given_columns


@given(columns().filter(is_column_input), st.booleans())
def test_columns_become_rows(given_columns, binary):
    request = read_request(*body_of(given_columns, binary=binary))
    rows = [orjson.loads(row) for row in rows_of(request, 100)]
    assert rows == wanted_rows(given_columns)


@given(columns().filter(is_column_input), st.booleans())
def test_grpc_has_the_same_rows(given_columns, raw):
    message = MESSAGES["ModelInferRequest"](model_name="fraud")
    fields = {
        "BOOL": "bool", "INT8": "int", "INT16": "int", "INT32": "int", "INT64": "int64",
        "UINT8": "uint", "UINT16": "uint", "UINT32": "uint", "UINT64": "uint64", "FP32": "fp32",
        "FP64": "fp64", "BYTES": "bytes",
    }  # fmt: skip
    raw = raw or any(datatype in ("FP16", "BF16") for datatype, _ in given_columns.values())
    for name, (datatype, values) in given_columns.items():
        tensor = message.inputs.add(name=name, datatype=datatype, shape=[len(values), 1])
        if raw:
            message.raw_input_contents.append(packed(datatype, values))
        else:
            typed = [v.encode() for v in values] if datatype == "BYTES" else values
            getattr(tensor.contents, f"{fields[datatype]}_contents").extend(typed)
    back = type(message).FromString(message.SerializeToString())
    rows = [orjson.loads(row) for row in rows_of(read_infer(back), 100)]
    assert rows == wanted_rows(given_columns)


@given(st.binary(max_size=200), st.none() | st.integers(-1, 250).map(lambda n: b"%d" % n))
def test_any_body_is_a_request_or_refused(raw, length):
    with contextlib.suppress(OipError):
        request = read_request(raw, length)
        rows_of(request, 10)
        keys_of(request, 1)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.floats() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner),
    max_leaves=8,
)
ENTRY = st.fixed_dictionaries(
    {},
    optional={
        "name": JSON | st.sampled_from(["data", "a", "rdv_key"]),
        "shape": JSON | st.lists(st.integers(-1, 3), max_size=3),
        "datatype": JSON | st.sampled_from(sorted(DATATYPES)),
        "data": JSON,
        "parameters": JSON,
    },
)


@given(st.lists(ENTRY, max_size=3), JSON)
def test_any_json_is_a_request_or_refused(inputs, more):
    body = json.dumps({"inputs": inputs, "parameters": more}).encode()
    with contextlib.suppress(OipError):
        rows_of(read_request(body, None), 10)


def tensor(name, datatype, shape, data):
    return {"name": name, "datatype": datatype, "shape": shape, "data": data}


def rows(*tensors):
    request = read_request(orjson.dumps({"inputs": tensors}), None)
    return [orjson.loads(row) for row in rows_of(request, 100)]


def test_the_forms_of_rows():
    assert rows(tensor("data", "BYTES", [2], ['{"a": 1}', "[2]"])) == [{"a": 1}, [2]]
    wide = tensor("x", "FP32", [2, 3], [1, 2, 3, 4, 5, None])
    assert rows(wide) == [[1.0, 2.0, 3.0], [4.0, 5.0, None]]
    assert rows(wide, tensor("y", "BOOL", [2, 1], [True, False])) == [
        {"x": [1.0, 2.0, 3.0], "y": True},
        {"x": [4.0, 5.0, None], "y": False},
    ]
    deep = tensor("x", "INT8", [1, 2, 2], [[[1, 2], [3, 4]]])
    assert rows(deep) == [[[1, 2], [3, 4]]]
    assert rows(tensor("a", "FP64", [], [7])) == [{"a": 7.0}]


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ([], "there are no inputs"),
        ([tensor("a", "FP8", [1], [1])], "datatype 'FP8'"),
        ([tensor("a", "fp32", [1], [1])], "datatype 'fp32'"),
        ([tensor("data", "BYTES", [1], [None])], "row 0 is null"),
        ([tensor("data", "BYTES", [1], ['{"a": NaN}'])], "NaN is not JSON; send null"),
        ([tensor("data", "BYTES", [1], ['{"a": 1e999}'])], "too large for a double"),
        ([tensor("data", "BYTES", [1], [f"[{2**64}]"])], "not within -2^63 to 2^64-1"),
        ([tensor("data", "BYTES", [1], ["[" * 101 + "]" * 101])], "nested more than 100 deep"),
        ([tensor("a", "FP64", [1], [2**64 - 1]), tensor("a", "INT8", [1], [1])], "same name"),
        ([tensor("a", "INT64", [1], [2**63])], "no INT64"),
        ([tensor("a", "UINT64", [1], [-1])], "no UINT64"),
        (
            [{**tensor("a", "FP32", [1], None), "parameters": {"shared_memory_region": "r"}}],
            "shared memory extension of the protocol is not served",
        ),
        ([tensor("a", "INT8", [1], [128])], "no INT8"),
        ([tensor("a", "INT8", [1], [1.5])], "no INT8"),
        ([tensor("a", "INT8", [1], [True])], "no INT8"),
        ([tensor("a", "UINT8", [1], [-1])], "no UINT8"),
        ([tensor("a", "BOOL", [1], [1])], "no BOOL"),
        ([tensor("a", "BYTES", [1], [1])], "no BYTES"),
        ([tensor("a", "FP32", [2], [1])], "has 1 values, but its shape [2] has 2"),
        ([tensor("a", "FP32", [-1], [1])], "which cannot be"),
        ([tensor("a", "FP32", [10**9, 10**9], [1])], "at most 50,000,000"),
        ([tensor("a", "FP32", [2, 1], [[1], 2])], "mixes lists and values"),
        ([tensor("a", "FP32", [0], [])], "0 rows"),
        ([tensor("a", "FP32", [101], [0] * 101)], "101 rows; between 1 and 100"),
        ([tensor("a", "FP32", [1], [1])] * 2, "same name"),
        ([tensor("a", "FP32", [1], [1]), tensor("b", "FP32", [2], [1, 2])], "differ"),
        ([tensor("data", "BYTES", [1], ['1}, "key": "x"'])], "row 0 is not JSON"),
        ([tensor("data", "BYTES", [1], ["1, 2"])], "row 0 is not JSON"),
        ([{"name": "a", "datatype": "FP32", "shape": [1]}], "neither data nor binary_data_size"),
    ],
)
def test_what_is_refused(inputs, message):
    with pytest.raises(OipError) as caught:
        rows(*inputs)
    assert message in caught.value.message


@pytest.mark.parametrize(
    ("body", "status", "code", "message"),
    [
        (b'{"inputs": [{"data": [NaN]}]}', 400, "malformed_json", "NaN is not JSON; send null"),
        (b'{"inputs": [{"data": [-Infinity]}]}', 400, "malformed_json", "send null"),
        (b'{"inputs": [{"data": [1e999]}]}', 422, "number_out_of_range", "too large"),
        (b'{"inputs": [{"data": [%d]}]}' % 10**30, 422, "number_out_of_range", "2^64-1"),
        (b"\xff\xfe{", 400, "malformed_json", "UTF-16"),
        (b'{"inputs": ' + b"[" * 200, 422, "nested_too_deeply", "deep"),
        (b'{"inputs": [], "parameters": {"sequence_id": 7}}', 501, "extension_not_served",
         "the sequence extension"),
        (b'{"inputs": [], "outputs": [{"name": "a", "parameters": {"classification": 2}}]}', 501,
         "extension_not_served", "the classification extension"),
        (b'{"inputs": [], "outputs": [{"name": "a", "parameters": {"shared_memory_region": "r"}}]}',
         501, "extension_not_served", "the shared memory extension"),
    ],
)  # fmt: skip
def test_what_is_refused_of_a_body(body, status, code, message):
    with pytest.raises(OipError) as caught:
        read_request(body, None)
    assert (caught.value.status, caught.value.code) == (status, code)
    assert message in caught.value.message


def test_the_largest_numbers_of_floats():
    for datatype, largest in (
        ("FP16", float(np.finfo(np.float16).max)),
        ("FP32", float(np.finfo(np.float32).max)),
        ("BF16", float(np.array([0x7F7F0000], "<u4").view("<f4")[0])),
        ("FP64", float(np.finfo(np.float64).max)),
    ):
        for value in (largest, -largest):
            assert rows(tensor("a", datatype, [1], [value])) == [{"a": value}]
        if datatype != "FP64":
            with pytest.raises(OipError, match=f"no {datatype}"):
                rows(tensor("a", datatype, [1], [largest * 1.01]))


def test_keys_of_rows():
    keys = tensor("rdv_key", "BYTES", [2, 1], ["u-1", "u-2"])
    column = tensor("a", "FP64", [2, 1], [1, 2])
    request = read_request(orjson.dumps({"inputs": [column, keys]}), None)
    assert keys_of(request, 2) == ["u-1", "u-2"]
    assert [orjson.loads(row) for row in rows_of(request, 9)] == [{"a": 1.0}, {"a": 2.0}]
    numbers = tensor("rdv_key", "INT64", [2], [42, -7])
    assert keys_of(read_request(orjson.dumps({"inputs": [column, numbers]}), None), 2) == [
        "42",
        "-7",
    ]
    for key in ("u-3", 42):
        one = {"inputs": [column], "parameters": {"rdv_key": key}}
        assert keys_of(read_request(orjson.dumps(one), None), 2) == [str(key)] * 2
    for key in (True, 1.5):
        with pytest.raises(OipError, match="no text and no whole number"):
            keys_of(InferRequest([], parameters={"rdv_key": key}), 2)
    shared = {"inputs": [column], "parameters": {"rdv_key": "u-3"}}
    assert keys_of(read_request(orjson.dumps(shared), None), 2) == ["u-3", "u-3"]


def answer(result, **more):
    facts = {
        "id": "1", "kind": "preferred", "model": "m", "version": None, "schedule": "p@1",
        "step": 1, "waited_ms": 1.5, "code": "", "reason": "", "cohort": None,
        "answered_by": "server",
    }  # fmt: skip
    return {**facts, "result": result, **more}


def test_fields_of_answers_are_outputs():
    answers = [
        answer({"score": 0.5, "action": "accept", "new": True, "top": [1]}),
        answer({"score": None, "action": None, "new": False, "top": None}),
    ]
    found = {t.name: (t.datatype, t.values) for t in outputs_of(answers, InferRequest([]))}
    assert found == {
        "score": ("FP64", [0.5, None]),
        "action": ("BYTES", ["accept", ""]),
        "new": ("BOOL", [True, False]),
        "top": ("BYTES", ["[1]", "null"]),
    }
    lists = outputs_of([answer([1, 2]), answer(3)], InferRequest([]))
    assert [(t.name, t.values) for t in lists] == [("result", ["[1,2]", "3"])]
    assert parameters_of(answers)["rdv_step"] == "[1,1]"
    assert parameters_of(answers[:1]) == {
        "rdv_id": "1", "rdv_kind": "preferred", "rdv_model": "m", "rdv_schedule": "p@1",
        "rdv_step": 1, "rdv_waited_ms": 1.5, "rdv_answered_by": "server",
    }  # fmt: skip


@given(st.lists(st.none() | st.floats(allow_nan=False), min_size=1, max_size=5))
def test_answers_in_binary_are_those_in_json(values):
    output = Tensor("score", "FP64", (len(values), 1), values)
    response = InferResponse("fraud", "production", "", [output])
    as_json = write_response(response, InferRequest([]))
    as_binary = write_response(response, InferRequest([], is_binary=True))
    assert as_json.json_length is None
    assert as_binary.json_length is not None
    binary = np.frombuffer(as_binary.body[as_binary.json_length :], "<f8")
    expected = np.array([math.nan if v is None else v for v in values])
    np.testing.assert_array_equal(binary, expected)
    data = [None if not math.isfinite(v) else v for v in expected]
    shown = [plain(v) for v in orjson.loads(as_json.body)["outputs"][0]["data"]]
    assert shown == data
    message = write_infer(response, is_binary=True)
    assert list(message.raw_output_contents) == [to_binary(output)]
    typed = write_infer(response, is_binary=False)
    np.testing.assert_array_equal(typed.outputs[0].contents.fp64_contents, expected)


def test_metadata_has_the_columns_of_the_schema():
    columns = {"amount": "number", "age": "integer", "new": "boolean", "country": "string"}
    assert [(t.name, t.datatype) for t in input_tensors(columns)] == [
        ("amount", "FP64"), ("age", "INT64"), ("new", "BOOL"), ("country", "BYTES"),
    ]  # fmt: skip
    assert [t.name for t in input_tensors({**columns, "top": "list"})] == ["data"]
    assert [(t.name, t.datatype) for t in output_tensors({"score": 0, "action": "x"})] == [
        ("score", "FP64"), ("action", "BYTES"),
    ]  # fmt: skip
    assert [t.name for t in output_tensors([1])] == ["result"]
