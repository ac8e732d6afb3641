"""Check the proxy with an enricher file that is edited under load, imports slowly, or is broken."""

from __future__ import annotations

import os

import orjson
import pytest
from running import DEADLINE_S, Client, Decision, write_decision
from waiting import wait_until

from rdv.stream import open_stream

GOOD = "def enrich(data):\n    return {{**data, 'seen': {seen!r}}}\n"

PATIENT = """
sla_ms = 50000
default = 0
[[step]]
accept = ["gbm"]
"""


class Place:
    """Run a decision with an enricher and a long SLA; read its requests from the log."""

    def __init__(self, directory):
        http = 'enrich = "models/profile.py:enrich"\nenrich_timeout_ms = 20000'
        port = write_decision(directory, http=http)
        (directory / "schedules" / "production.toml").write_text(PATIENT)
        self.decision = Decision(directory, port)
        self.directory = directory
        self.file = directory / "models" / "profile.py"

    def write(self, text):
        scratch = self.file.with_suffix(".new")
        scratch.write_text(text)
        scratch.rename(self.file)

    def start(self):
        self.decision.start("server", "gbm", "proxy-0")
        self.decision.await_ready()

    def seen(self):
        """Send a request; return what the enricher has added for the models."""
        with Client(self.decision.port) as client:
            status, answer = client.post({"data": {"n": 1}})
        assert status == 200
        lines = (orjson.loads(value) for _, value in self.decision.lines("input"))
        line = next(line for line in lines if line["id"] == answer["id"])
        self.enriched_ms = line.get("enriched_ms", 0.0)
        return line["data"].get("seen")

    def fault(self):
        """Return the fault of the enricher in the proxy's status, or an empty string."""
        path = str(self.directory / "control")
        with open_stream(path, look=True) as control, control.consumer(["status"]) as reader:
            lines = [orjson.loads(record.value) for record in reader.poll(100_000)]
        return [line for line in lines if line["role"] == "proxy"][-1].get("enricher_fault", "")

    def pid(self):
        return self.decision.processes["proxy-0"].pid


@pytest.fixture
def place(tmp_path):
    place = Place(tmp_path / "fraud")
    yield place
    place.decision.close()


def test_a_proxy_comes_up_with_a_broken_file_and_says_so(place):
    place.write("import nothing_of_this_name\n")
    place.start()
    assert place.seen() is None
    wait_until(lambda: "nothing_of_this_name" in place.fault(), "the status says nothing")
    place.write(GOOD.format(seen="mended"))
    wait_until(lambda: place.seen() == "mended", "the mended file is not loaded")
    wait_until(lambda: place.fault() == "", "the status says still that it is broken")


def test_a_file_that_cannot_be_loaded_leaves_the_one_before_in_force(place):
    place.write(GOOD.format(seen="first"))
    place.start()
    assert place.seen() == "first"
    assert place.enriched_ms > 0
    place.write("raise RuntimeError('broken')\n")
    wait_until(lambda: "broken" in place.fault(), "the status says nothing")
    assert place.seen() == "first"
    place.decision.kill("proxy-0")
    place.decision.restart("proxy-0")
    assert place.seen() is None


def test_requests_are_answered_while_a_file_is_imported(place):
    go = place.directory / "go"
    place.write(GOOD.format(seen="first"))
    place.start()
    place.write(
        f"import os, time\nopen({str(go)!r} + '.began', 'w').close()\n"
        f"while not os.path.exists({str(go)!r}):\n    time.sleep(0.01)\n"
        + GOOD.format(seen="second")
    )
    wait_until(lambda: os.path.exists(f"{go}.began"), "it is not imported")
    assert place.seen() == "first"
    wait_until(lambda: "still being loaded" in place.fault(), "the status says nothing")
    go.touch()
    wait_until(lambda: place.seen() == "second", "the new one is not in force")


def test_a_file_whose_import_never_ends_keeps_no_other_out_and_no_proxy_from_its_end(place):
    place.write("import time\ntime.sleep(3600)\n")
    place.start()
    assert place.seen() is None
    place.write(GOOD.format(seen="second"))
    wait_until(lambda: place.seen() == "second", "the new one is not in force")
    place.decision.processes["proxy-0"].terminate()
    assert place.decision.processes["proxy-0"].wait(DEADLINE_S) == 0


def test_an_edit_of_what_it_imports_counts(place):
    helper = place.directory / "models" / "helper_of_profile.py"
    helper.write_text("SEEN = 'first'\n")
    place.write("from helper_of_profile import SEEN\n" + GOOD.replace("{seen!r}", "SEEN").format())
    place.start()
    assert place.seen() == "first"
    helper.write_text("SEEN = 'the second'\n")
    wait_until(lambda: place.seen() == "the second", "the helper's edit does not count")


def test_loads_that_fail_leave_no_threads_behind(place):
    place.write(GOOD.format(seen="first"))
    place.start()
    assert place.seen() == "first"
    counts = []
    for number in range(6):
        place.write(f"raise RuntimeError('broken {number}')\n")
        wait_until(lambda n=number: f"broken {n}" in place.fault(), "the status says nothing")
        counts.append(len(os.listdir(f"/proc/{place.pid()}/task")))
    wait_until(
        lambda: len(os.listdir(f"/proc/{place.pid()}/task")) <= counts[0], f"threads: {counts}"
    )
    assert place.seen() == "first"


FAILING = """
import time
class Odd(BaseException):
    def __str__(self):
        raise ValueError
def enrich(data):
    {}
"""


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("raise ValueError('no such user')", "ValueError: no such user"),
        ("raise Odd", "Odd: (its text cannot be made"),
        ("return float('nan')", "its result is nan"),
        ("return [2**70]", "its result is not JSON"),
        ("time.sleep(5)", "no result within 50 ms"),
    ],
)
def test_an_enricher_that_always_fails_is_named_in_the_status(place, code, said):
    toml = place.directory / "rdv.toml"
    toml.write_text(toml.read_text().replace("timeout_ms = 20000", "timeout_ms = 50"))
    place.write(FAILING.format(code))
    place.start()
    for _ in range(3):
        assert place.seen() is None
    wait_until(lambda: said in place.fault(), "the status says nothing")
    assert place.fault().startswith("failing: 100% of the last")


def test_a_file_whose_error_has_no_text_is_named(place):
    place.write(FAILING.format("pass") + "raise Odd\n")
    place.start()
    wait_until(lambda: "Odd: (its text cannot" in place.fault(), "the status says nothing")
    assert place.seen() is None
