"""Build the wheel, and check which files a `pip install` brings."""

import subprocess
import sys
import zipfile
from pathlib import Path

ROOT = Path(__file__).parent.parent


def test_the_wheel_brings_samples_schedules_and_the_format(tmp_path):
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)],
        cwd=ROOT,
        check=True,
        capture_output=True,
    )
    (wheel,) = tmp_path.glob("rdv-*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    assert "rdv/assets/schedules/README.md" in names
    assert "rdv/assets/sample-models/README.md" in names
    assert "rdv/stream/FORMAT.md" in names
    assert "rdv/py.typed" in names
    assert not any(name.startswith(("tests/", "benchmarks/")) for name in names)
