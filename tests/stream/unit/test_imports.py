"""Check that importing the log is light: heavy libraries are loaded where they are needed."""

import subprocess
import sys

import pytest

HEAVY = ["numpy", "pyarrow", "rich", "typer", "pydantic", "confluent_kafka"]


@pytest.mark.parametrize("module", ["rdv", "rdv.stream"])
def test_an_import_pulls_in_nothing_heavy(module):
    code = f"import sys, {module}; print(*[m for m in {HEAVY} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


def test_sending_and_reading_files_pulls_in_nothing_heavy(tmp_path):
    code = f"""
import sys
from rdv.stream import open_stream
with open_stream({str(tmp_path / "s")!r}) as stream, stream.producer() as producer:
    producer.send("t", b"x")
    with stream.consumer(["t"], group="g") as consumer:
        assert consumer.poll(timeout=5)
        consumer.commit()
print(*[m for m in {HEAVY} if m in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
