"""Check `rdv promote --ramp` of a served decision: to the whole, back, and interrupted."""

from __future__ import annotations

import json
import signal
import threading
from pathlib import Path
from types import SimpleNamespace

import pytest

from rdv.commands.ramp import carry_ramp_out
from rdv.decision.ramp import Ramp, write_ramp
from rdv.errors import NotUsable
from rdv.rendezvous.messages import decode_result
from rdv.stream import open_stream

pytestmark = [pytest.mark.timeout(300)]

# The models give the same answers, except one in fifty. {"hurt": true} makes logit raise.
MODEL = """
version = "1"

def predict(rows):
    if "{name}" == "logit" and any(row.get("hurt") for row in rows):
        raise ValueError("no such luck")
    odd = "{name}" == "logit"
    return [{{"action": "ab"[row["n"] % 2 ^ (odd and row["n"] % 50 == 0)]}} for row in rows]
"""
RAMP = (
    *("promote", "fraud", "logit", "--yes", "--accept", "marginal", "--min-requests", 40),
    *("--ramp", "20%,60%,100%", "--stage-min", "1s"),
)


def test_a_ramp_that_has_begun_meanwhile_is_not_carried_out_as_this_one(tmp_path):
    write_ramp(
        str(tmp_path),
        Ramp(champion="a", challenger="other", schedule="production", old="", new=""),
    )
    found = SimpleNamespace(proposal=SimpleNamespace(challenger="logit"))
    asked = SimpleNamespace(limits=None)
    decision = SimpleNamespace(directory=str(tmp_path))
    with pytest.raises(NotUsable, match="a ramp of other has begun meanwhile"):
        carry_ramp_out(decision, found, None, None, None, asked, None)


@pytest.fixture
def fraud(decision):
    for name in ("mlp", "logit", "rules"):
        Path(f"fraud/models/{name}.py").write_text(MODEL.format(name=name))
    settings = Path("fraud/rdv.toml")
    text = settings.read_text()
    assert "#late_max = 0.01" in text
    # The effect of a loaded machine on latency is not tested here.
    settings.write_text(text.replace("#late_max = 0.01", "late_max = 0.5 # a comment"))
    for name, more in (("rows", {}), ("hurt", {"hurt": True})):
        rows = [{"data": {"n": n, "user": f"u-{n}", **more}} for n in range(1, 401)]
        Path(f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return decision


@pytest.fixture
def load(start):
    """Send requests with keys until the test says otherwise; all must be answered."""

    class Load:
        rows = "rows.jsonl"
        stopped = threading.Event()

        def once(self, seconds=2):
            process = start(
                *("load", "fraud", "--rate", 80, "--duration", f"{seconds}s", "--json"),
                *("--data", self.rows, "--key-field", "user"),
            )
            found, words = process.communicate()
            said = json.loads(found)
            assert set(said["statuses"]) == {"200"}, words

        def run(self):
            while not self.stopped.is_set():
                self.once(1)

        def __enter__(self):
            self.thread = threading.Thread(target=self.run, daemon=True)
            self.thread.start()
            return self

        def __exit__(self, *_):
            self.stopped.set()
            self.thread.join(60)

    return Load()


def texts():
    """Return the files that a ramp edits, and the names of the schedules."""
    names = sorted(path.name for path in Path("fraud/schedules").glob("*.toml"))
    return Path("fraud/rdv.toml").read_text(), live(), names


def live():
    return Path("fraud/schedules/production.toml").read_text()


def labels():
    """Return the names of the schedules by which requests were decided, in the order of time."""
    with open_stream("fraud/results") as results, results.consumer() as consumer:
        found = []
        while records := consumer.poll(10_000):
            found += [(r.timestamp_ns, decode_result(r.value)) for r in records]
    return [
        result.schedule.partition("@")[0] for _, result in sorted(found, key=lambda one: one[0])
    ]


def test_a_good_challenger_reaches_all_keys(rdv, serve, start, load, fraud):
    serve()
    load.once(3)
    settings, before, names = texts()
    with load:
        done = rdv(*RAMP, "--json")
    assert done.code == 0, done.err
    found = done.row()
    assert [(one["share"], one["ended"]) for one in found["stages"]] == [
        (0.2, "passed"), (0.6, "passed"), (1.0, "passed"),
    ]  # fmt: skip
    assert (found["promoted"], found["rolled_back"]) == (True, False)
    load.once(1)
    assert live() != before
    assert texts() == (settings, live(), names)
    assert not Path("fraud/.rdv/ramp.json").exists()
    assert {"production", "ramp-logit"} == set(labels())
    assert labels()[-1] == "production"
    assert rdv("verify", "fraud").code == 0
    assert rdv("status", "fraud", "--json").row()["ramp"] is None


def test_a_bad_challenger_is_taken_back(rdv, serve, start, load, fraud):
    serve()
    load.once(3)
    before = texts()
    with load:
        ramp = start(*RAMP, "--json")
        while b"the champion" not in (line := ramp.stderr.readline()):
            assert line, "the ramp has ended"
        load.rows = "hurt.jsonl"
        found = json.loads(ramp.stdout.read())
        assert ramp.wait() == 99
        load.rows = "rows.jsonl"
    assert found["rolled_back"]
    assert "errors of the new champion" in found["stepped_back"]
    assert found["stages"][-1]["ended"] == "back"
    assert texts() == before
    load.once(1)
    assert labels()[-1] == "production"
    assert rdv("verify", "fraud").code == 0


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGKILL])
def test_an_interrupted_ramp_is_shown_and_goes_on(rdv, serve, start, load, fraud, signum):
    serve()
    load.once(3)
    before = texts()
    ramp = start(*RAMP, "--json")
    while b"the champion" not in (line := ramp.stderr.readline()):
        assert line, "the ramp has ended"
    ramp.send_signal(signum)
    said = ramp.stderr.read().decode()
    assert ramp.wait() in (130, -signal.SIGKILL)
    assert signum == signal.SIGKILL or "the same command continues it" in said
    assert rdv("schedule", "check", "fraud").code == 0
    state = rdv("status", "fraud", "--json").row()["ramp"]
    assert (state["challenger"], state["share"]) == ("logit", 0.2)
    shown = rdv("status", "fraud").out
    assert "logit in place of mlp: 20.0 % of the keys" in shown
    assert "rdv promote fraud --abort" in shown
    # No other promotion begins meanwhile.
    assert rdv("promote", "fraud", "rules", "--yes", "--force").code == 3
    with load:
        done = rdv(*RAMP, "--json")
    assert done.code == 0, done.err
    assert "continued at 20" in done.err
    assert [one["share"] for one in done.row()["stages"]] == [0.2, 0.6, 1.0]
    assert texts()[0::2] == before[0::2]
    assert rdv("verify", "fraud").code == 0


def test_an_interrupted_ramp_is_taken_back(rdv, serve, start, load, fraud):
    served = serve()
    load.once(3)
    before = texts()
    ramp = start(*RAMP)
    while b"the champion" not in (line := ramp.stderr.readline()):
        assert line, "the ramp has ended"
    busy = rdv("promote", "fraud", "--abort")
    assert busy.code == 1
    assert "another rdv promote" in busy.err
    ramp.kill()
    ramp.wait()
    assert rdv("promote", "fraud", "rules", "--abort").code == 3
    done = rdv("promote", "fraud", "--abort")
    assert done.code == 0, done.err
    assert texts() == before
    assert rdv("promote", "fraud", "--abort").code == 3
    assert served.end() == 0
    assert rdv("verify", "fraud").code == 0


@pytest.mark.parametrize(
    "shares",
    ["", "10%", "1,100%", "50%,10%,100%", "10%,10%,100%", "0%,100%", "50%,200%", "x%,100%"],
)
def test_shares_that_are_no_ramp_are_refused(rdv, decision, shares):
    done = rdv("promote", "fraud", "logit", "--ramp", shares)
    assert done.code == 2
    assert "--ramp" in done.err
