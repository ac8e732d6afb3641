"""Check the log of `rdv serve` as JSON lines, and its file that is rotated."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from waiting import wait_until

from rdv.system.rotating_file import RotatingFile

pytestmark = [pytest.mark.timeout(120)]

NOISY = """
import os, sys
version = "1"

for n in range(40):
    print(f"row {n:03d} of the model", file=sys.stderr, flush=True)
os.write(1, b"no text: \\xff\\n")

def predict(rows):
    return [{"score": 0.5} for row in rows]
"""


def configure(text):
    path = Path("fraud/rdv.toml")
    known = path.read_text()
    assert "\n[logging]\n" in known
    path.write_text(known.replace("\n[logging]\n", f"\n[logging]\n{text}\n"))


def files(path):
    """Return the file and those that it was rotated to, the oldest first."""
    found = sorted(path.parent.glob(f"{path.name}.*"), key=lambda one: -int(one.suffix[1:]))
    return [*found, path]


def test_all_lines_are_json_in_files_that_are_rotated_and_stderr_stays_text(serve):
    configure('format = "json"\nfile = "logs/serve.log"\nbytes_max = 4096\nfiles_max = 50')
    Path("fraud/models/logit.py").write_text(NOISY)
    served = serve()
    os.kill(served.pid("logit-0"), signal.SIGKILL)
    served.until("logit-0 ended")
    assert served.end() == 0
    log = Path("fraud/logs/serve.log")
    parts = files(log)
    assert len(parts) > 1
    assert max(part.stat().st_size for part in parts) <= 4096
    assert log.stat().st_mode & 0o777 == 0o600
    rows = [json.loads(line) for part in parts for line in part.read_text().splitlines()]
    assert [row["time"] for row in rows] == sorted(row["time"] for row in rows)
    said = [row["message"] for row in rows if row["process"] == "logit-0"]
    assert [line for line in said if line.startswith("row ")][:40] == [
        f"row {n:03d} of the model" for n in range(40)
    ]
    assert "no text: \\xff" in said
    (ended,) = [row for row in rows if row.get("code") == "part_ended"]
    assert (ended["process"], ended["level"]) == ("rdv", "warning")
    assert "SIGKILL" in ended["message"]
    assert "[part_ended]" not in ended["message"]
    # People still see text, and the same lines.
    assert sum("row 039 of the model" in line for line in served.lines) >= 1
    assert not any(line.startswith("{") for line in served.lines)


def test_without_a_file_the_lines_on_stderr_are_json(serve):
    configure('format = "json"')
    served = serve(wait=False)
    served.until("answers at http")
    served.end()
    rows = [json.loads(line) for line in served.lines]
    assert {row["process"] for row in rows} >= {"rdv", "server-0"}
    assert any(row["message"].startswith("mlp-0 is ready") for row in rows)
    assert rows[-1]["message"] == "stopped"


def test_a_single_process_writes_the_file_as_well(serve):
    configure('format = "json"\nfile = "serve.log"')
    served = serve("--in-process", wait=False)
    log = Path("fraud/serve.log")
    wait_until(lambda: log.exists() and "listening on" in log.read_text())
    served.end()
    assert all(json.loads(line)["process"] == "rdv" for line in log.read_text().splitlines())


@settings(max_examples=50, deadline=None)
@given(
    lengths=st.lists(st.integers(0, 60), max_size=60),
    bytes_max=st.integers(20, 100),
    files_max=st.integers(1, 70),
    reopened=st.integers(1, 10),
)
def test_no_line_is_lost_or_divided_by_rotation(
    tmp_path_factory, lengths, bytes_max, files_max, reopened
):
    path = tmp_path_factory.mktemp("log") / "deep" / "x.log"
    lines = [f"{number:04d}{'x' * length}" for number, length in enumerate(lengths)]
    log = RotatingFile(str(path), bytes_max, files_max)
    for number, line in enumerate(lines):
        if number % reopened == 0:
            log.close()
            log = RotatingFile(str(path), bytes_max, files_max)
        assert log.write(line.encode() + b"\n") is None
    log.close()
    parts = files(path)
    assert len(parts) <= files_max
    kept = [line for part in parts for line in part.read_text().splitlines()]
    # The newest lines are there as they were written; without a limit of files, all are.
    assert kept == lines[len(lines) - len(kept) :]
    if files_max > len(lines):
        assert kept == lines
    for part in parts:
        text = part.read_text()
        assert len(text) <= bytes_max or text.count("\n") == 1


def test_a_file_that_another_program_moves_is_begun_anew(tmp_path, monkeypatch):
    monkeypatch.setattr("rdv.system.rotating_file.LOOK_S", 0.0)
    path = tmp_path / "x.log"
    log = RotatingFile(str(path), 4096, 3)
    log.write(b"one\n")
    path.rename(tmp_path / "moved")
    log.write(b"two\n")
    path.unlink()
    log.write(b"three\n")
    assert (tmp_path / "moved").read_text() == "one\n"
    assert path.read_text() == "three\n"
    log.close()
    path.write_text("half a li")
    log = RotatingFile(str(path), 4096, 3)
    log.write(b"whole\n")
    assert path.read_text() == "half a li\nwhole\n"
    log.close()


def test_a_line_that_does_not_fit_on_the_disk_leaves_nothing_and_is_counted(tmp_path):
    import resource

    path = tmp_path / "x.log"
    log = RotatingFile(str(path), 10**6, 3)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (10, before[1]))
        assert log.write(b"12345\n") is None
        assert log.write(b"1234567890\n") is not None
        assert path.read_bytes() == b"12345\n"
        assert log.lost == 1
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
    assert log.write(b"again\n") is None
    assert path.read_bytes() == b"12345\nagain\n"
    log.close()


def test_a_rotation_that_cannot_open_a_new_file_loses_no_old_one(tmp_path):
    import resource

    path = tmp_path / "x.log"
    log = RotatingFile(str(path), 8, 5)
    for number in range(3):
        assert log.write(b"line %d\n" % number) is None
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, before[1]))
    try:
        errors = [log.write(b"line x\n") for _ in range(4)]
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
    assert all(errors)
    assert log.lost == 4
    assert log.write(b"line 3\n") is None
    log.close()
    assert [part.read_text() for part in files(path)] == [f"line {n}\n" for n in range(4)]


def test_a_failed_write_after_a_copytruncate_leaves_no_hole(tmp_path):
    import resource

    path = tmp_path / "x.log"
    log = RotatingFile(str(path), 10**6, 3)
    log.write(b"a line of a file that is truncated\n")
    os.truncate(path, 0)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (4, before[1]))
        assert log.write(b"1234567890\n") is not None
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
    assert path.read_bytes() == b""
    log.close()


def test_files_beyond_a_lowered_files_max_are_deleted(tmp_path):
    path = tmp_path / "x.log"
    log = RotatingFile(str(path), 8, 5)
    for number in range(5):
        log.write(b"line %d\n" % number)
    log.close()
    assert len(files(path)) == 5
    RotatingFile(str(path), 8, 2).close()
    assert [part.read_text() for part in files(path)] == ["line 3\n", "line 4\n"]
