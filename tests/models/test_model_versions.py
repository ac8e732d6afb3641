"""Check that a model's version changes with each file that it is made of, and with no other."""

from __future__ import annotations

import builtins
import os
import shutil
import sys
import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rdv.models import ModelNotLoaded, open_model
from rdv.models import opened as opened_files
from rdv.system.made_of import ARTIFACTS_MAX, Hashes, read_made_of, version_of

READERS = {
    "open": "content(HERE + '/deep/w.bin')",
    "os": "os.read(os.open(HERE + '/deep/w.bin', os.O_RDONLY), 9)",
    "pathlib": "__import__('pathlib').Path(HERE, 'deep', 'w.' + 'bin').read_bytes()",
    "numpy": "__import__('numpy').fromfile(HERE + '/deep/w.bin', 'u1')",
    "pickle": "__import__('pickle').loads(content(os.path.join(HERE, 'deep', 'w' + '.bin')))",
    "update": "open(HERE + '/deep/w' + '.bin', 'r+').close()",
    "thread": "in_a_thread(lambda: content(HERE + '/deep/' + 'w.bin'))",
    "relative": "content('deep/' + 'w.bin')",
    "link": "content(HERE + '/link')",
}
MODEL = """
import os, threading
HERE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
def content(path):
    with open(path, 'rb') as file:
        return file.read()
def in_a_thread(call):
    thread = threading.Thread(target=call)
    thread.start()
    thread.join()
def load():
    try:
        {read}
    except (OSError, ValueError, EOFError, __import__("pickle").UnpicklingError):
        pass
def predict(rows):
    return rows
"""


@pytest.fixture
def place(tmp_path, monkeypatch):
    path = list(sys.path)
    (tmp_path / "models").mkdir()
    (tmp_path / "deep").mkdir()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "deep/w.bin").write_bytes(b"weights 1")
    os.symlink(tmp_path / "deep/w.bin", tmp_path / "link")
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    sys.path[:] = path
    opened_files._watching.clear()


def opened(place, text, **options):
    opened_files._watching.clear()  # each worker has one model, and ends with it
    (place / "models/m.py").write_text(text)
    return open_model(str(place), "m", path="models/m.py", **options)


@pytest.mark.parametrize("read", READERS.values(), ids=READERS)
def test_weights_that_are_read_while_a_model_is_loaded_are_a_part_of_its_version(place, read):
    text = MODEL.format(read=read)
    first = opened(place, text).version
    assert opened(place, text).version == first
    (place / "deep/other.bin").write_bytes(b"not read")
    assert opened(place, text).version == first
    (place / "deep/w.bin").write_bytes(b"weights 2")
    assert opened(place, text).version != first
    (place / "deep/w.bin").write_bytes(b"weights 1")
    assert opened(place, text).version == first


def test_what_other_threads_of_the_process_read_is_no_part_of_a_model(place):
    """In one process with the proxy, the version is the same as in a process of its own."""
    text = MODEL.format(read="import time; time.sleep(0.05)")
    alone = opened(place, text).version
    is_over = threading.Event()

    def read():
        while not is_over.is_set():
            (place / "deep/w.bin").read_bytes()

    other = threading.Thread(target=read)
    other.start()
    try:
        assert opened(place, text).version == alone
    finally:
        is_over.set()
        other.join()


def test_a_declared_version_does_not_hide_other_weights(place):
    text = MODEL.format(read=READERS["open"]) + "version = 'v7'\n"
    first = opened(place, text).version
    (place / "deep/w.bin").write_bytes(b"weights 2")
    second = opened(place, text).version
    assert first.startswith("v7@")
    assert second.startswith("v7@")
    assert first != second
    assert opened(place, text, version="9").version.startswith("9@")


def test_weights_that_a_library_reads_by_itself_are_named_by_artifacts(place):
    text = "def predict(rows): return rows\n"
    for entry in ("deep/w.bin", "deep", "deep/*.bin", "**/w.bin", str(place / "deep/w.bin")):
        (place / "deep/w.bin").write_bytes(b"weights 1")
        first = opened(place, text, artifacts=[entry]).version
        (place / "deep/w.bin").write_bytes(b"weights 2")
        assert opened(place, text, artifacts=[entry]).version != first


def test_artifacts_that_do_not_exist_or_are_too_many_are_refused(place):
    text = "def predict(rows): return rows\n"
    for entry in ("gone.bin", "elsewhere", "*.nothing"):
        with pytest.raises(ModelNotLoaded, match="is no file or folder with files"):
            opened(place, text, artifacts=["deep", entry])
    for number in range(ARTIFACTS_MAX + 1):
        (place / f"elsewhere/{number}").touch()
    with pytest.raises(ModelNotLoaded, match="more than 1,000 files"):
        opened(place, text, artifacts=["elsewhere"])


def test_the_files_of_a_command_and_its_words_are_its_version(place):
    (place / "m.sh").write_text("cat\n")

    def version(*words, **options):
        model = open_model(str(place), "m", command=["sh", "m.sh", *words], **options)
        model.close()
        return model.version

    first = version()
    assert version("-x") != first
    assert version(artifacts=["deep"]) != first
    assert version(version="2").startswith("2@")
    (place / "m.sh").write_text("cat \n")
    assert version() != first


def test_an_estimator_has_the_version_of_its_file(place):
    joblib = pytest.importorskip("joblib")
    linear = pytest.importorskip("sklearn.linear_model")
    versions = []
    for sign in (1, -1):
        x = np.arange(20.0).reshape(-1, 1)
        joblib.dump(linear.LogisticRegression().fit(x, sign * x[:, 0] > sign * 9), "m.joblib")
        versions.append(open_model(str(place), "m", path="m.joblib", version="v1").version)
    assert versions[0] != versions[1]


def test_a_copy_of_a_decision_has_the_same_versions(place, tmp_path_factory):
    text = MODEL.format(read=READERS["open"])
    first = opened(place, text).version
    copy = tmp_path_factory.mktemp("copy") / "it"
    shutil.copytree(place, copy)
    assert opened(copy, text).version == first


def test_modules_beside_the_model_count_from_the_cache_as_from_the_source(place):
    (place / "models/late").mkdir()
    (place / "models/late/part.py").write_text("x = 1\n")
    text = "import late.part\ndef predict(rows): return rows\n"
    first = opened(place, text).version
    (place / "models/late/part.py").write_text("x = 2\n")
    assert opened(place, text).version != first


def test_what_a_model_writes_itself_is_its_state_and_no_new_version(place):
    text = MODEL.format(read=READERS["open"]) + (
        "def close():\n"
        "    with open(HERE + '/deep/w.bin', 'w') as file:\n"
        "        file.write(str(os.urandom(8)))\n"
    )
    model = opened(place, text, records=True)
    assert "deep/w.bin" in read_made_of(str(place), "m").files
    model.close()
    assert read_made_of(str(place), "m").state == ["deep/w.bin"]
    again = []
    for _ in range(2):
        again.append(opened(place, text, records=True))
        again[-1].close()
    assert again[0].version == again[1].version
    fixed = opened(place, text, records=True, artifacts=["deep/w.bin"])
    fixed.close()
    assert opened(place, text, artifacts=["deep/w.bin"]).version != fixed.version


def test_a_file_that_is_first_read_in_predict_is_named(place, caplog):
    text = """
import os
HERE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
def predict(rows):
    with open(os.path.join(HERE, "deep", "w" + ".bin")) as file:
        return [file.read()] * len(rows)
"""
    for options, count in (({}, 1), ({"artifacts": ["deep"]}, 0)):
        caplog.clear()
        model = opened(place, text, records=True, **options)
        for _ in range(3):
            model.predict([1])
        said = [line for line in caplog.messages if "reads deep/w.bin after it was loaded" in line]
        assert len(said) == count


def test_the_record_has_the_version_before(place):
    text = MODEL.format(read=READERS["open"])
    first = opened(place, text, records=True).version
    assert read_made_of(str(place), "m").before == ""
    opened_files._watching.clear()
    (place / "deep/w.bin").write_bytes(b"weights 2")
    for _ in range(2):
        second = opened(place, text, records=True).version
        found = read_made_of(str(place), "m")
        assert (found.before, found.version) == (first, second)


names = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=5)
hashes = st.dictionaries(names, st.text("0123456789abcdef", min_size=12, max_size=12), max_size=4)


@settings(max_examples=50)
@given(st.text("ab", max_size=2), hashes, hashes)
def test_different_files_have_different_versions(declared, one, other):
    same = version_of(declared, one) == version_of(declared, other)
    lone = len(one) == len(other) == 1 and [*one.values()] == [*other.values()]
    assert same == (one == other or lone)
    assert version_of(declared, one).startswith(declared)


@pytest.mark.parametrize("folder", ["models/input", "deep/schedules", "weights/decoy"])
def test_folders_below_the_decision_may_have_the_names_of_its_own(place, folder):
    weights = place / folder / "w.bin"
    weights.parent.mkdir(parents=True)
    weights.write_bytes(b"1")
    read = f"content({str(weights)!r}[:-3] + 'bin')"
    (place / "models/m.py").write_text(MODEL.replace("{read}", read))
    first = open_model(str(place), "m", path="models/m.py")
    first.close()
    weights.write_bytes(b"2")
    second = open_model(str(place), "m", path="models/m.py")
    second.close()
    assert first.version != second.version


def test_what_other_threads_of_rdv_read_meanwhile_is_no_part_of_a_model(place):
    (place / "models/m.py").write_text(
        "def load():\n    import builtins\n    builtins.rdv_test_began.set()\n"
        "    builtins.rdv_test_ended.wait(30)\n"
        "def predict(rows): return rows\n"
    )
    began, ended = threading.Event(), threading.Event()
    builtins.rdv_test_began, builtins.rdv_test_ended = began, ended
    loader = threading.Thread(
        target=lambda: open_model(str(place), "m", path="models/m.py", records=True).close()
    )
    loader.start()
    try:
        assert began.wait(30)
        reader = threading.Thread(target=lambda: Hashes({}).of(str(place / "deep/w.bin")))
        reader.start()
        reader.join()
    finally:
        ended.set()
        loader.join()
        del builtins.rdv_test_began, builtins.rdv_test_ended
    assert list(read_made_of(str(place), "m").files) == ["models/m.py"]
