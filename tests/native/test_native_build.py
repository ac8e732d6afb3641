"""Check which extension is loaded, and what a wheel contains of it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from concurrent.futures import ThreadPoolExecutor

import pytest
from native_kit import ROOT, python

FOUND = "import rdv.native; print(rdv.native.NATIVE is not None)"


def test_without_it_by_one_variable(native):
    assert python(FOUND, RDV_NATIVE="0") == "False"
    assert python(FOUND, RDV_NATIVE="") == "True"


def test_all_of_the_log_goes_without_it(tmp_path):
    code = f"""
from rdv.stream import open_stream
with open_stream({str(tmp_path / "s")!r}) as stream, stream.producer() as producer:
    producer.send_many("t", [b"a", b"b"])
    producer.send("t", b"c")
    with stream.consumer(["t"], group="g") as consumer:
        print(*[record.value.decode() for record in consumer.poll(timeout=5)])
"""
    assert python(code, RDV_NATIVE="0") == "a b c"


@pytest.mark.parametrize(("more", "is_ours"), [(0, True), (1, False), (-1, False)])
def test_an_extension_of_other_sources_is_left_alone(more, is_ours):
    code = f"""
import sys, types
sys.modules["rdv.native._native"] = fake = types.ModuleType("rdv.native._native")
fake.version = {more}
import rdv.native
fake.version += rdv.native.VERSION
print(rdv.native._load() is fake)
"""
    assert python(code, RDV_NATIVE="") == str(is_ours)


def test_the_version_is_that_of_the_sources(native):
    from rdv.native import VERSION

    assert native.version == VERSION
    assert f"#define VERSION {VERSION}\n" in (ROOT / "rdv/native/module.c").read_text()


def build(scratch, wanted):
    """Build a wheel from a copy of the sources with leftovers of older builds; return its path."""
    root = scratch / (wanted or "any")
    root.mkdir()
    for name in ("pyproject.toml", "hatch_build.py", "README.md", ".gitignore"):
        shutil.copy(ROOT / name, root)
    (root / "rdv").mkdir()
    shutil.copy(ROOT / "rdv/__init__.py", root / "rdv")
    shutil.copytree(ROOT / "rdv/native", root / "rdv/native", ignore=shutil.ignore_patterns("*.so"))
    (root / "rdv/native/_native.abi3.so").write_bytes(b"old")
    (root / "rdv/native/_native.4711.so").write_bytes(b"of a build that was killed")
    for name in ("sample-models", "schedules"):
        (root / name).mkdir()
        (root / name / "README.md").touch()
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(root / "dist")],
        cwd=root,
        env={**os.environ, "RDV_NATIVE": wanted},
        check=True,
        capture_output=True,
    )
    (wheel,) = (root / "dist").glob("*.whl")
    return wheel


def test_a_wheel_has_the_extension_or_is_pure_python(native, tmp_path):
    with ThreadPoolExecutor(2) as pool:
        pure, ours = pool.map(lambda wanted: build(tmp_path, wanted), ["0", "require"])
    assert pure.name.endswith("-py3-none-any.whl")
    assert not [name for name in zipfile.ZipFile(pure).namelist() if name.endswith(".so")]
    assert "-cp311-abi3-" in ours.name
    whole = zipfile.ZipFile(ours)
    built = [name for name in whole.namelist() if name.endswith(".so")]
    assert built == ["rdv/native/_native.abi3.so"]
    whole.extractall(tmp_path / "installed")
    code = "import rdv.native; print(rdv.native.NATIVE.__file__, rdv.native.NATIVE.lines(b'', []))"
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path / "installed",
        env={**os.environ, "RDV_NATIVE": "require"},
        check=True,
        capture_output=True,
        text=True,
    )
    assert done.stdout.split() == [str(tmp_path / "installed" / built[0]), "1"]


def test_what_cannot_be_compiled_is_done_without_or_is_an_error():
    """There may be no compiler, for example."""
    code = f"""
import os, sys
sys.path.insert(0, {str(ROOT)!r})
import hatch_build
class App:
    def display_warning(self, text): print("warned")
data = dict(artifacts=[])
def fail(): raise OSError("no compiler")
class Hook(hatch_build.NativeHook):
    target_name, app, root = "wheel", App(), "/"
    def __init__(self): pass
    _compile = staticmethod(fail)
try:
    Hook().initialize("standard", data)
except OSError as error:
    print(error)
print(data)
"""
    assert python(code, RDV_NATIVE="").splitlines() == ["warned", "{'artifacts': []}"]
    assert python(code, RDV_NATIVE="require").splitlines() == ["no compiler", "{'artifacts': []}"]
    assert python(code, RDV_NATIVE="0").splitlines() == ["{'artifacts': []}"]
