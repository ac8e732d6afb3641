"""Check .onnx files as models against scikit-learn and onnxruntime itself."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import orjson
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper
from skl2onnx import to_onnx
from skl2onnx.common.data_types import FloatTensorType, Int64TensorType, StringTensorType
from sklearn.compose import ColumnTransformer
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

from rdv.models import ModelNotLoaded, open_model

X = np.random.default_rng(1).normal(size=(60, 3)).astype(np.float32)
TARGETS = {
    "two": np.where(X[:, 0] > 0, "yes", "no"),
    "three": np.where(X[:, 0] > 0, 7, np.where(X[:, 1] > 0, 8, 9)),
    "value": X[:, 0] - X[:, 2],
}


def answers(model, rows):
    return [orjson.loads(outcome) for outcome in model.predict(rows)]


def opened(place, name="m.onnx", **options):
    return open_model(str(place), "m", path=name, options=options)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    place = tmp_path_factory.mktemp("onnx")
    for name, y in TARGETS.items():
        model = (LinearRegression if name == "value" else LogisticRegression)().fit(X, y)
        for zipmap in (True, False) if name != "value" else (True,):
            options = {id(model): {"zipmap": zipmap}} if name != "value" else None
            content = to_onnx(model, X[:1], options=options).SerializeToString()
            (place / f"{name}{'' if zipmap else '-plain'}.onnx").write_bytes(content)
    return place


@pytest.mark.parametrize("name", ["two", "two-plain"])
def test_two_classes_give_a_score(place, name):
    expected = LogisticRegression().fit(X, TARGETS["two"])
    model = opened(place, f"{name}.onnx")
    found = answers(model, X[:9].tolist())
    assert [one["label"] for one in found] == expected.predict(X[:9]).tolist()
    scores = [one["score"] for one in found]
    assert scores == pytest.approx(expected.predict_proba(X[:9])[:, 1].tolist(), abs=1e-5)


@pytest.mark.parametrize("name", ["three", "three-plain"])
def test_more_classes_give_probabilities_by_label(place, name):
    expected = LogisticRegression().fit(X, TARGETS["three"])
    (answer,) = answers(opened(place, f"{name}.onnx"), X[:1].tolist())
    assert answer["label"] == int(expected.predict(X[:1])[0])
    shares = dict(zip(["7", "8", "9"], expected.predict_proba(X[:1])[0].tolist(), strict=True))
    assert answer["probabilities"] == pytest.approx(shares, abs=1e-5)


def test_a_regression_gives_a_value_by_list_by_input_and_by_the_names_of_columns(place):
    by_list = answers(opened(place, "value.onnx"), X[:4].tolist())
    assert [one["value"] for one in by_list] == pytest.approx(TARGETS["value"][:4], abs=1e-5)
    assert answers(opened(place, "value.onnx"), [{"X": row} for row in X[:4].tolist()]) == by_list
    named = opened(place, "value.onnx", columns=["a", "b", "c"])
    rows = [dict(zip("cba", row[::-1], strict=True)) for row in X[:4].tolist()]
    assert answers(named, rows) == by_list
    assert [column["name"] for column in named.columns] == ["a", "b", "c"]


@pytest.fixture(scope="module")
def mixed(tmp_path_factory):
    """Return a model with an input of its own for each column: fraction, integer, string."""
    import pandas as pd

    place = tmp_path_factory.mktemp("mixed")
    chance = np.random.default_rng(2)
    frame = pd.DataFrame(
        {
            "amount": chance.normal(size=90).astype(np.float32),
            "visits": chance.integers(0, 5, 90),
            "colour": chance.choice(["blue", "red"], 90),
        }
    )
    encode = OneHotEncoder(handle_unknown="ignore")
    columns = ColumnTransformer([("c", encode, ["colour"])], remainder="passthrough")
    model = make_pipeline(columns, LogisticRegression())
    model.fit(frame, (frame["colour"] == "red") ^ (frame["amount"] > 0))
    inputs = [
        ("amount", FloatTensorType([None, 1])),
        ("visits", Int64TensorType([None, 1])),
        ("colour", StringTensorType([None, 1])),
    ]
    content = to_onnx(model, initial_types=inputs).SerializeToString()
    (place / "m.onnx").write_bytes(content)
    return place


ROWS = st.fixed_dictionaries(
    {
        "amount": st.floats(-3, 3, width=32) | st.integers(-3, 3),
        "visits": st.integers(0, 9) | st.booleans(),
        "colour": st.sampled_from(["blue", "red", "never seen"]),
    }
)


@settings(deadline=None, max_examples=20, phases=[Phase.generate])
@given(st.lists(ROWS, min_size=1, max_size=6))
def test_each_input_is_a_field(mixed, rows):
    session = onnxruntime.InferenceSession(mixed / "m.onnx", providers=["CPUExecutionProvider"])
    labels, shares = session.run(None, {
        "amount": np.array([row["amount"] for row in rows], np.float32).reshape(-1, 1),
        "visits": np.array([row["visits"] for row in rows], np.int64).reshape(-1, 1),
        "colour": np.array([row["colour"] for row in rows], object).reshape(-1, 1),
    })  # fmt: skip
    model = opened(mixed)
    found = answers(model, rows)
    as_lists = [[row[name] for name in ("amount", "visits", "colour")] for row in rows]
    assert answers(model, as_lists) == found
    for answer, label, share in zip(found, labels, shares, strict=True):
        assert answer["label"] == label
        assert answer["score"] == pytest.approx(share[1], abs=1e-6)


ROW = {"amount": 1.0, "visits": 2, "colour": "red"}


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({}, "KeyError: 'amount'"),
        ({"amount": 1, "visits": 2}, "KeyError: 'colour'"),
        ({**ROW, "visits": 1.5}, "ValueError: 'visits': 1.5 is not of the type int64"),
        ({**ROW, "visits": None}, "ValueError: 'visits': None is not of the type int64"),
        ({**ROW, "visits": 2**70}, "OverflowError"),
        ({**ROW, "colour": 5}, "ValueError: 'colour': 5 is not of the type string"),
        ({**ROW, "amount": "1"}, "ValueError: 'amount': '1' is not of the type float"),
        ({**ROW, "amount": [1, 2]}, "ValueError: 'amount': [1, 2] is not of the type float"),
        ([1.0, 2], "ValueError: a row has 2 values, but the model has 3 inputs"),
        ("red", "TypeError: a row is an object or a list"),
    ],
)
def test_a_bad_row_says_what_is_wrong_and_spoils_no_other(mixed, row, reason):
    model = opened(mixed)
    good = answers(model, [ROW])
    before, outcome, after = model.predict([ROW, row, ROW])
    assert str(outcome).startswith(reason)
    assert [orjson.loads(before), orjson.loads(after)] == good * 2


def test_null_is_nan_in_an_input_of_fractions(mixed):
    assert "is nan" in str(opened(mixed).predict([{**ROW, "amount": None}])[0])


def test_columns_are_the_inputs(mixed):
    assert [(one["name"], one["type"], one["nullable"]) for one in opened(mixed).columns] == [
        ("amount", "number", True), ("visits", "integer", False), ("colour", "string", False),
    ]  # fmt: skip


def graph(place, node, inputs, outputs, initializers=(), **saving):
    found = helper.make_graph([node], "g", inputs, outputs, list(initializers))
    model = helper.make_model(found, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, str(place / "m.onnx"), **saving)


def tensor(name, kind, shape):
    return helper.make_tensor_value_info(name, kind, shape)


@pytest.mark.parametrize("rows", [1, 4])
def test_a_fixed_number_of_rows_is_kept_and_any_number_is_answered(tmp_path, rows):
    shape = [rows, 2]
    node = helper.make_node("ReduceSum", ["x", "axes"], ["y"], keepdims=0)
    axes = numpy_helper.from_array(np.array([1]), "axes")
    ends = tensor("x", TensorProto.DOUBLE, shape), tensor("y", TensorProto.DOUBLE, [rows])
    graph(tmp_path, node, ends[:1], ends[1:], [axes])
    model = opened(tmp_path)
    for count in (1, 3, 4, 5, 9):
        given_rows = [[n, 0.5] for n in range(count)]
        assert answers(model, given_rows) == [{"value": n + 0.5} for n in range(count)]


def test_a_model_without_a_dimension_for_rows(tmp_path):
    node = helper.make_node("Add", ["x", "x"], ["y"])
    ends = tensor("x", TensorProto.INT32, [3]), tensor("y", TensorProto.INT32, [3])
    graph(tmp_path, node, ends[:1], ends[1:])
    model = opened(tmp_path, batch=False)
    assert answers(model, [[1, 2, 3], [4, 5, 6]]) == [{"value": [2, 4, 6]}, {"value": [8, 10, 12]}]


def test_images_and_truth_values(tmp_path):
    node = helper.make_node("Identity", ["x"], ["y"])
    ends = tensor("x", TensorProto.FLOAT, ["n", 2, 2]), tensor("y", TensorProto.FLOAT, ["n", 2, 2])
    graph(tmp_path, node, ends[:1], ends[1:])
    image = [[1.0, 2.0], [3.0, 4.0]]
    assert answers(opened(tmp_path), [image, {"x": image}]) == [{"value": image}] * 2
    for bad in ([[1.0, 2.0]], [[1.0, 2.0], [3.0]], [1.0], [["a", 2.0], [3.0, 4.0]], {"x": 1}):
        outcomes = opened(tmp_path).predict([image, bad])
        assert isinstance(outcomes[0], bytes)
        assert "ValueError" in str(outcomes[1])
    node = helper.make_node("Not", ["x"], ["y"])
    ends = tensor("x", TensorProto.BOOL, ["n"]), tensor("y", TensorProto.BOOL, ["n"])
    graph(tmp_path, node, ends[:1], ends[1:])
    assert answers(opened(tmp_path), [{"x": True}, False]) == [{"label": False}, {"label": True}]
    assert "1 is not of the type bool" in str(opened(tmp_path).predict([1])[0])


def test_several_outputs_are_an_object_and_labels_name_probabilities(tmp_path):
    node = helper.make_node("Split", ["x"], ["a", "b"], axis=1)
    ends = [tensor(name, TensorProto.FLOAT, ["n", size]) for name, size in (("a", 1), ("b", 1))]
    graph(tmp_path, node, [tensor("x", TensorProto.FLOAT, ["n", 2])], ends)
    assert answers(opened(tmp_path), [[1, 2]]) == [{"a": [1.0], "b": [2.0]}]
    node = helper.make_node("Softmax", ["x"], ["y"])
    ends = [tensor(name, TensorProto.FLOAT, ["n", 3]) for name in ("x", "y")]
    graph(tmp_path, node, ends[:1], ends[1:])
    (answer,) = answers(opened(tmp_path, labels=["p", "q", "r"]), [[0, 9, 0]])
    assert (answer["label"], list(answer["probabilities"])) == ("q", ["p", "q", "r"])


def test_weights_beside_the_file_are_a_part_of_the_version(tmp_path):
    weights = numpy_helper.from_array(np.ones((300, 1), np.float32), "w")
    node = helper.make_node("MatMul", ["x", "w"], ["y"])
    ends = tensor("x", TensorProto.FLOAT, ["n", 300]), tensor("y", TensorProto.FLOAT, ["n", 1])
    saving = {"save_as_external_data": True, "location": "w.bin", "size_threshold": 0}
    graph(tmp_path, node, ends[:1], ends[1:], [weights], **saving)
    first = opened(tmp_path).version
    data = bytearray((tmp_path / "w.bin").read_bytes())
    data[3] ^= 1
    (tmp_path / "w.bin").write_bytes(data)
    assert opened(tmp_path).version != first


@pytest.mark.parametrize("content", [b"", b"text", b'{"a": 1}'])
def test_other_files_are_refused(tmp_path, content):
    (tmp_path / "m.onnx").write_bytes(content)
    with pytest.raises(ModelNotLoaded, match="is not a model of onnx"):
        opened(tmp_path)


def test_broken_files_are_refused_with_the_reason(place, tmp_path):
    (tmp_path / "m.onnx").write_bytes((place / "two.onnx").read_bytes()[:100])
    with pytest.raises(ModelNotLoaded, match=r"INVALID_PROTOBUF|InvalidProtobuf|InvalidGraph"):
        opened(tmp_path)
