"""Check that arrays made without pyarrow.array equal its own, and that pandas is not imported."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st
from made_log import MadeLog, make_requests

from rdv.analysis.dataset.arrays import binaries, integers, strings

WORDS = st.text(st.characters(exclude_categories=["Cs"]), max_size=5)


@settings(deadline=None)
@given(st.lists(st.none() | WORDS, max_size=20))
def test_strings(values):
    found = strings(values)
    found.validate(full=True)
    assert found == pa.array(values, pa.large_string())


@settings(deadline=None)
@given(st.lists(st.none() | st.binary(max_size=5), max_size=20))
def test_binaries(values):
    found = binaries(values)
    found.validate(full=True)
    assert found == pa.array(values, pa.large_binary())


@settings(deadline=None)
@given(st.lists(st.integers(-(2**63), 2**63 - 1), max_size=20), st.sampled_from([1, 2, -1]))
def test_integers(values, step):
    numbers = np.array(values, np.int64)[::step]
    found = integers(numbers)
    found.validate(full=True)
    assert found == pa.array(numbers, pa.int64())


RUN = """
import sys

class Refuse:
    def find_spec(self, name, path=None, target=None):
        assert name != "pandas", "pandas is imported"

sys.meta_path.insert(0, Refuse())
from rdv.__main__ import main

for command in (
    ["verify", "fraud"],
    ["explain", "fraud", "00002a"],
    ["compare", "fraud", "gbm", "logit"],
    ["whatif", "fraud", "--schedule", "other.toml"],
):
    assert main(command) == 0, command
"""


def test_no_command_that_evaluates_imports_pandas(tmp_path):
    """It would take half of their time for a small log."""
    (tmp_path / "fraud/schedules").mkdir(parents=True)
    (tmp_path / "fraud/rdv.toml").touch()
    (tmp_path / "other.toml").write_text("sla_ms = 50\ndefault = 0\n[[step]]\naccept = ['*']\n")
    MadeLog(make_requests(80)).write(tmp_path / "fraud")
    done = subprocess.run(
        [sys.executable, "-c", RUN], cwd=tmp_path, capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr.decode()
