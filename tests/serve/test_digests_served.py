"""`rdv serve` writes the hourly digests of what is in the log, and a kill leaves nothing half."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import msgspec
from ports import free_port
from waiting import wait_until

from rdv.analysis.digests.hour import HOUR_NS, hours_there, read_hour
from rdv.clock import SYSTEM_CLOCK
from rdv.rendezvous.messages import Request, encode_request, make_request_id
from rdv.serve.supervisor.digester import until_next_s
from rdv.stream import open_stream

SETTINGS = """
[http]
port = {port}
ready_when = "serving"
[drift]
wait_ms = 50
"""


class _Clock:
    """The wall clock some hours ago."""

    def __init__(self, back_ns):
        self.back_ns = back_ns

    def wall_ns(self):
        return time.time_ns() - self.back_ns

    def monotonic_ns(self):
        return SYSTEM_CLOCK.monotonic_ns()


def recorded_hours_ago(directory: Path, hours: int, count: int) -> None:
    """Append requests to the input as they came some hours ago."""
    clock = _Clock(hours * HOUR_NS)
    with (
        open_stream(str(directory / "input"), clock=clock) as stream,
        stream.producer() as producer,
    ):
        for number in range(count):
            request = Request(
                id=make_request_id(b"0123456789", number),
                time_ns=clock.wall_ns(),
                host="h/b",
                monotonic_ns=1,
                reply_to="p-1",
                data=msgspec.Raw(b'{"amount":%d}' % number),
            )
            producer.send("p-1", encode_request(request), partition=0)


def test_the_hours_in_the_log_get_digests(tmp_path):
    directory = tmp_path / "fraud"
    (directory / "schedules").mkdir(parents=True)
    (directory / "rdv.toml").write_text(SETTINGS.format(port=free_port()))
    schedule = 'sla_ms = 50\ndefault = "no"\n[[step]]\naccept = ["*"]\n'
    (directory / "schedules" / "production.toml").write_text(schedule)
    recorded_hours_ago(directory, 3, 40)
    with subprocess.Popen(
        [sys.executable, "-m", "rdv", "serve", str(directory)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    ) as serving:
        try:
            wait_until(lambda: len(hours_there(str(directory))) >= 3, "no digests were written")
        finally:
            serving.send_signal(signal.SIGTERM)
            said = serving.communicate(timeout=60)[1]
    assert serving.returncode == 0, said
    first, *rest = (read_hour(str(directory), hour) for hour in hours_there(str(directory)))
    assert first.requests == 40
    assert sorted(first.fields["amount"].numeric().tolist()) == list(range(40))
    assert [one.requests for one in rest] == [0] * len(rest)


def test_the_next_digest_is_due_some_time_after_the_hour():
    assert until_next_s(3600 * 5 + 10, 120_000) == 110
    assert until_next_s(3600 * 5 + 130, 120_000) == 3590
    assert until_next_s(3600 * 5 + 120, 120_000) == 3600
