"""Check Python files as models: what they may do, and that they do not affect others."""

import os
import sys
import threading

import msgspec
import pytest

from rdv.models import ModelError, ModelNotLoaded, open_model
from rdv.models.batch import evaluate


@pytest.fixture(autouse=True)
def _path_stays_as_it_was():
    path, modules = list(sys.path), set(sys.modules)
    yield
    sys.path[:] = path
    for name in set(sys.modules) - modules:
        if name.startswith("rdv_model_") or name in ("helper", "late"):
            del sys.modules[name]


def write(place, text, name="m.py"):
    (place / name).write_text(text)
    return str(place)


def open_py(place, text, **options):
    return open_model(write(place, text), "m", path="m.py", **options)


def reasons(outcomes):
    return [str(outcome) if isinstance(outcome, ModelError) else "" for outcome in outcomes]


def test_a_model(tmp_path):
    model = open_py(tmp_path, "version = 'v7'\ndef predict(rows): return [r['x'] for r in rows]")
    assert (model.version[:3], model.takes) == ("v7@", "values")
    assert model.predict([{"x": 1}, {"x": "a"}]) == [b"1", b'"a"']
    assert model.predict([]) == []
    model.close()
    model.close()


def test_versions(tmp_path):
    plain = open_py(tmp_path, "def predict(rows): return rows")
    assert len(plain.version) == 12
    assert open_py(tmp_path, "def predict(rows): return rows").version == plain.version
    assert open_py(tmp_path, "def predict(rows): return  rows").version != plain.version
    assert open_py(tmp_path, "def predict(rows): return rows", version="9").version.startswith("9@")
    loaded = "def load():\n  global version\n  version = 'after'\ndef predict(rows): return rows"
    assert open_py(tmp_path, loaded).version.startswith("after@")


def test_load_is_called_once_and_close_at_the_end(tmp_path):
    text = (
        "calls = []\n"
        "def load(): calls.append('load')\n"
        "def predict(rows): return [list(calls)] * len(rows)\n"
        "def close(): open(__file__ + '.closed', 'w').close(); raise SystemExit\n"
    )
    model = open_py(tmp_path, text)
    model.predict([1])
    assert model.predict([1]) == [b'["load"]']
    model.close()
    model.close()
    assert os.path.exists(tmp_path / "m.py.closed")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("x = ", "SyntaxError"),
        ("import nothing_like_that", "ModuleNotFoundError: No module named 'nothing_like_that'"),
        ("raise SystemExit(3)", "SystemExit: 3"),
        ("raise KeyboardInterrupt", "KeyboardInterrupt"),
        ("x = 1", "it has no function predict(rows)"),
        ("predict = 3", "it has no function predict(rows)"),
        ("def predict(rows): return rows\ndef load(): raise OSError('no weights')", "no weights"),
    ],
)
def test_what_cannot_be_loaded(tmp_path, text, reason):
    before = set(sys.modules)
    with pytest.raises(ModelNotLoaded) as caught:
        open_py(tmp_path, text)
    assert reason in caught.value.text()
    assert not {name for name in set(sys.modules) - before if name.startswith("rdv_model_")}
    if "weights" in reason:
        assert "in load" in caught.value.hint()
        assert "rdv/models" not in caught.value.hint()


def test_a_missing_file_and_an_unknown_kind(tmp_path):
    with pytest.raises(ModelNotLoaded, match="no such file"):
        open_model(str(tmp_path), "m", path="m.py")
    write(tmp_path, "", "m.csv")
    with pytest.raises(ModelNotLoaded, match=r"does not end in .* Python \(\.py\), sklearn"):
        open_model(str(tmp_path), "m", path="m.csv")


def test_siblings_and_late_imports(tmp_path):
    write(tmp_path, "X = 1", "helper.py")
    write(tmp_path, "Y = 2", "late.py")
    text = (
        "import helper\ndef predict(rows):\n  import late\n  return [helper.X + late.Y] * len(rows)"
    )
    assert open_py(tmp_path, text).predict([0]) == [b"3"]
    assert not os.path.exists(tmp_path / "__pycache__")


def test_a_changed_file_and_a_changed_sibling_within_one_second(tmp_path):
    """Neither Python's bytecode nor its module cache may hide an edit of the same size."""
    models = []
    for number in range(1, 4):
        write(tmp_path, f"X = {number}", "helper.py")
        text = f"import helper\ndef predict(rows): return [[helper.X, {number}]] * len(rows)"
        models.append(open_py(tmp_path, text))
    assert [m.predict([0]) for m in models] == [[b"[1,1]"], [b"[2,2]"], [b"[3,3]"]]


def test_two_directories_with_siblings_of_one_name(tmp_path):
    models = []
    for number in (1, 2):
        place = tmp_path / str(number)
        place.mkdir()
        write(place, f"X = {number}", "helper.py")
        text = "import helper\ndef predict(rows): return [helper.X] * len(rows)"
        models.append(open_py(place, text))
    assert [model.predict([0])[0] for model in models] == [b"1", b"2"]


def test_one_row_that_raises_spoils_no_other(tmp_path):
    model = open_py(tmp_path, "def predict(rows): return [1 / row for row in rows]")
    outcomes = model.predict([1, 0, 2])
    assert outcomes == [b"1.0", ModelError("ZeroDivisionError: division by zero"), b"0.5"]


@pytest.mark.parametrize("kind", [bytes, msgspec.Raw])
def test_rows_as_the_log_has_them(tmp_path, kind):
    model = open_py(tmp_path, "def predict(rows): return [1 / row.pop('x') for row in rows]")
    rows = [kind(b'{"x": 1}'), kind(b'{"x": 0}'), kind(b'{"x": 2}')]
    outcomes = evaluate(model, rows)
    assert outcomes == [b"1.0", ModelError("ZeroDivisionError: division by zero"), b"0.5"]
    assert isinstance(evaluate(model, [*rows, kind(b"1,2")])[3], ModelError)


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("raise SystemExit(1)", "SystemExit: 1"),
        ("raise KeyboardInterrupt", "KeyboardInterrupt"),
        ("import sys; sys.exit()", "SystemExit"),
        ("return None", "predict returned None, not a list"),
        ("return 'ab'", "predict returned a str"),
        ("return {'a': 1, 'b': 2}", "predict returned a dict"),
        ("return rows[:1]", "predict returned 1 results for 2 rows"),
        ("return (r for r in rows)", "predict returned a generator"),
        ("return [None, None]", "result is None"),
        ("return [float('nan')] * 2", "result is nan"),
        ("return ['x' * 2_000_000] * 2", "more than 1048576"),
        ("def f(): f()\n  f()", "RecursionError"),
        ("raise type('E', (Exception,), {'__str__': lambda s: 1 / 0})()", "E: (its text cannot"),
        ("raise ValueError('long ' * 1000 + '\\n')", "ValueError: long long"),
    ],
)
def test_whatever_predict_does_is_an_error_of_its_rows(tmp_path, body, reason):
    outcomes = open_py(tmp_path, f"def predict(rows):\n  {body}").predict([1, 2])
    assert len(outcomes) == 2
    for text in reasons(outcomes):
        assert text.startswith(reason) or reason in text
        assert len(text) <= 500
        assert "\n" not in text


def test_numpy_results(tmp_path):
    text = "import numpy as np\ndef predict(rows): return np.array(rows, float) / 2"
    assert open_py(tmp_path, text).predict([1, 2]) == [b"0.5", b"1.0"]
    text = "import numpy as np\ndef predict(rows): return np.array([r / 2 for r in rows])[0]"
    assert "predict returned a float64" in reasons(open_py(tmp_path, text).predict([1]))[0]


def test_only_the_row_that_is_no_number(tmp_path):
    model = open_py(tmp_path, "def predict(rows): return [{'s': float(r)} for r in rows]")
    outcomes = model.predict(["1", "nan", "inf", "2"])
    assert [isinstance(outcome, bytes) for outcome in outcomes] == [True, False, False, True]


def test_a_model_that_prints(tmp_path, capfd):
    model = open_py(tmp_path, "def predict(rows):\n  print('hello')\n  return rows")
    assert model.predict([1]) == [b"1"]
    assert capfd.readouterr().out == "hello\n"


def test_loading_in_several_threads(tmp_path):
    made = []

    def load(number):
        place = tmp_path / str(number)
        place.mkdir()
        write(place, f"X = {number}", "helper.py")
        text = "import helper\ndef predict(rows): return [helper.X] * len(rows)"
        made.append((number, open_py(place, text)))

    threads = [threading.Thread(target=load, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted((n, int(model.predict([0])[0])) for n, model in made) == [
        (n, n) for n in range(8)
    ]
