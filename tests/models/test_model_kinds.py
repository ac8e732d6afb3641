"""Check how the adapter of a model file is found, and what is reported when none fits."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.metadata import EntryPoint

import orjson
import pytest

from rdv.models import ModelNotLoaded, kinds, open_model
from rdv.models.kinds import OWN, UnknownKind, find_kind

ADAPTER = """
import json
import os

ENDINGS = (".weights", "/")
EXTRA = "gauge"
LIBRARIES = ("gauge_library",)
OPTIONS = {"factor": "every result is multiplied by it"}


def recognises(path):
    place = os.path.join(path, "gauge.weights") if os.path.isdir(path) else path
    with open(place, "rb") as file:
        return file.read(5) == b"gauge"


def load(path, options):
    return Gauge(path, options)


class Gauge:
    columns = [{"name": "x", "type": "number"}]

    def __init__(self, path, options):
        place = os.path.join(path, "gauge.weights") if os.path.isdir(path) else path
        with open(place) as file:
            text = file.read()
        if "library" in text:
            import gauge_library
        if "other" in text:
            import some_other_module
        self.version = text.split()[1]
        self.factor = options.get("factor", 1)
        self.options = options
        self.files = [path + ".more"] if os.path.isfile(path) else []

    def predict(self, rows):
        return [{"value": row["x"] * self.factor} for row in rows]
"""


@pytest.fixture
def gauge(tmp_path, monkeypatch):
    """Install a package that registers an adapter, and return a folder for models."""
    site = tmp_path / "site"
    info = site / "gauge_models-1.0.dist-info"
    info.mkdir(parents=True)
    (site / "gauge_models.py").write_text(ADAPTER)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: gauge-models\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[rdv.models]\ngauge = gauge_models\n")
    monkeypatch.syspath_prepend(str(site))
    kinds._others.cache_clear()
    place = tmp_path / "models"
    place.mkdir()
    yield place
    kinds._others.cache_clear()
    sys.modules.pop("gauge_models", None)


def test_a_package_can_add_a_kind(gauge):
    (gauge / "m.weights").write_text("gauge 7")
    model = open_model(str(gauge), "m", path="m.weights", options={"factor": 3})
    assert orjson.loads(model.predict([{"x": 2}])[0]) == {"value": 6}
    assert model.version.startswith("7@")
    assert model.columns == [{"name": "x", "type": "number"}]
    assert find_kind(str(gauge / "m.weights")).file == str(gauge.parent / "site/gauge_models.py")


def test_a_bad_row_of_a_batch_fails_alone(gauge):
    (gauge / "m.weights").write_text("gauge 7")
    model = open_model(str(gauge), "m", path="m.weights")
    outcomes = model.predict([{"x": 2}, {}, {"x": 3}])
    assert str(outcomes[1]) == "KeyError: 'x'"
    assert [orjson.loads(outcomes[n])["value"] for n in (0, 2)] == [2, 3]


def test_the_version_changes_with_each_file_of_the_model(gauge):
    def version():
        return open_model(str(gauge), "m", path="m.weights").version

    (gauge / "m.weights").write_text("gauge 7")
    first = version()
    (gauge / "m.weights.more").write_text("read by a C++ library")
    second = version()
    (gauge / "m.weights.more").write_text("changed")
    assert len({first, second, version()}) == 3


def test_a_folder_is_a_model_whose_version_changes_with_each_file_in_it(gauge):
    folder = gauge / "m"
    (folder / "deep").mkdir(parents=True)
    (folder / "gauge.weights").write_text("gauge 1")
    (folder / "deep/more").write_text("1")

    def version():
        return open_model(str(gauge), "m", path="m").version

    first = version()
    assert version() == first
    (folder / "deep/more").write_text("2")
    assert version() != first


def test_a_missing_library_is_named_with_what_installs_it(gauge):
    (gauge / "m.weights").write_text("gauge library")
    with pytest.raises(ModelNotLoaded, match=r"pip install 'gauge-models\[gauge\]'"):
        open_model(str(gauge), "m", path="m.weights")
    (gauge / "m.weights").write_text("gauge other")
    with pytest.raises(ModelNotLoaded, match="No module named 'some_other_module'") as caught:
        open_model(str(gauge), "m", path="m.weights")
    assert "pip install" not in str(caught.value)


def test_an_unknown_option_is_refused_and_the_known_ones_are_listed(gauge):
    (gauge / "m.weights").write_text("gauge 7")
    with pytest.raises(ModelNotLoaded, match="gauge has no option 'fctor': it has factor"):
        open_model(str(gauge), "m", path="m.weights", options={"fctor": 3, "threads": 1})


def test_what_no_adapter_takes_is_an_error_that_lists_the_kinds(gauge):
    (gauge / "m.weights").write_text("something else")
    (gauge / "m.zip").write_text("")
    (gauge / "folder").mkdir()
    for name, reason in (
        ("m.weights", "this file is not a model of gauge"),
        ("m.zip", "its name does not end in one of their endings"),
        ("folder", "this folder is not a model of"),
    ):
        with pytest.raises(UnknownKind) as caught:
            find_kind(str(gauge / name))
        assert reason in str(caught.value)
        for kind in (
            "Python (.py)",
            "sklearn (.joblib, .pkl, .pickle)",
            "gauge (.weights, a folder)",
        ):
            assert kind in str(caught.value)


def test_an_adapter_runs_by_its_path_where_rdv_is_not_installed(tmp_path):
    """Another interpreter runs the same file: it imports the standard library only."""
    code = """
import importlib.util, sys
class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] not in sys.stdlib_module_names and not name.startswith("adapter"):
            raise ImportError("not installed: " + name)
sys.meta_path.insert(0, Refuse())
for file in sys.argv[1:]:
    spec = importlib.util.spec_from_file_location("adapter", file)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert isinstance(module.ENDINGS, tuple) and module.EXTRA and module.LIBRARIES
    assert not module.recognises(sys.argv[0]) or module.LIBRARIES[0] == "sklearn"
"""
    files = [kind.file for name in OWN if (kind := kinds._own(name))]
    assert files
    script = tmp_path / "run.py"
    script.write_text(code)
    subprocess.run([sys.executable, "-I", "-S", str(script), *files], check=True)


def test_each_adapter_of_rdv_has_an_entry_point_and_an_extra():
    import tomllib

    with open(os.path.join(os.path.dirname(__file__), "../../pyproject.toml"), "rb") as file:
        project = tomllib.load(file)["project"]
    points = {name: f"rdv.models.adapters.{name}" for name in OWN}
    assert project["entry-points"]["rdv.models"] == points
    for name in OWN:
        if kind := kinds._own(name):
            assert kind.adapter.EXTRA in project["optional-dependencies"]


def test_a_kind_that_cannot_be_imported_hinders_no_other(monkeypatch, tmp_path, caplog):
    broken = EntryPoint("broken", "no_such_module_of_a_kind", kinds.GROUP)
    monkeypatch.setattr("importlib.metadata.entry_points", lambda **_: [broken])
    kinds._others.cache_clear()
    try:
        (tmp_path / "m.strange").write_text("x")
        with pytest.raises(UnknownKind, match="no kind of model fits"):
            find_kind(str(tmp_path / "m.strange"))
    finally:
        kinds._others.cache_clear()
    assert "the kind broken of no_such_module_of_a_kind cannot be used" in caplog.text
