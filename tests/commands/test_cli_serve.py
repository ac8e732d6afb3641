"""Check a decision with its real processes: started, asked, killed, edited, stopped."""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from rdv.stream import open_stream

ROW = '{"amount": 12.5}'


def ask(rdv, *options):
    outcome = rdv("ask", "fraud", ROW, *options)
    assert outcome.code == 0, outcome.err
    return outcome.row()


def ask_until(rdv, kind, model):
    """Ask until this model answers: the server learns a moment later that a model is back."""
    return any(
        (answer["kind"], answer["model"]) == (kind, model)
        for answer in (ask(rdv) for _ in range(500))
    )


def wait_gone(pids):
    """Wait for the end of all these processes, by their pidfds, without polling."""
    for pid in pids:
        try:
            fd = os.pidfd_open(pid)
        except ProcessLookupError:
            continue
        assert select.select([fd], [], [], 30)[0], f"process {pid} lives on"
        os.close(fd)


def test_from_nothing_to_answers_to_the_end(rdv, decision, serve):
    served = serve()
    text = "\n".join(served.lines)
    port = json.loads(Path("fraud/.rdv/serve.lock").read_text())["ports"][0]
    assert f"answers at http://127.0.0.1:{port}/v1/decide" in text
    assert f"curl -s http://127.0.0.1:{port}/v1/decide -d " in text

    answer = ask(rdv, "--key", "u-1", "--trace")
    assert (answer["kind"], answer["model"], answer["step"]) == ("preferred", "mlp", 1)
    assert [report["model"] for report in answer["trace"]]
    assert ask(rdv, "--schedule", "qa-challenger")["model"] == "logit"
    inline = '{"sla_ms": 1000, "default": 0, "step": [{"accept": ["rules"]}]}'
    assert ask(rdv, "--schedule", inline)["model"] == "rules"
    assert ask(rdv, "--schedule", "@fraud/schedules/ab.toml")["schedule"].startswith("inline@")
    refused = rdv("ask", "fraud", ROW, "--schedule", "nonsense")
    assert refused.code == 3
    assert "422 unknown_schedule" in refused.err
    assert rdv("ask", "fraud", "-", stdin=ROW.encode()).code == 0

    status = rdv("status", "fraud", "--json").row()
    assert status["served_by"] == served.process.pid
    assert {row["state"] for row in status["processes"]} == {"ready"}
    assert status["results"]["answers"] == 5
    assert status["models"][0]["state"] == "ready"
    assert "mlp" in rdv("status", "fraud").out

    if hasattr(os, "SCHED_BATCH"):
        policies = {n: os.sched_getscheduler(served.pid(n)) for n in ("server-0", "mlp-0")}
        assert policies == {"server-0": os.SCHED_OTHER, "mlp-0": os.SCHED_BATCH}
    assert served.end() == 0
    assert served.lines[-1].endswith("| stopped")
    # On a busy machine a worker may be held up while it has the lock of its new partition.
    troubles = [line for line in served.lines if line.endswith("]")]
    assert [line for line in troubles if "[partition_locked]" not in line] == []
    after = rdv("ask", "fraud", ROW)
    assert (after.code, "Start it: rdv serve fraud" in after.err) == (4, True)
    assert rdv("status", "fraud", "--json").row()["served_by"] is None


def test_load_counts_judges_and_breaks_thresholds(rdv, serve):
    serve()
    fine = rdv("load", "fraud", "--rate", 200, "--duration", "500ms", "--json", "--progress")
    run = fine.row()
    assert (fine.code, run["errors"], run["statuses"]) == (0, 0, {"200": 100})
    assert run["broken"] == []
    assert fine.err.splitlines()[0].split()[:2] == ["s", "req/s"]
    assert sum(row["answers"] for row in run["models"]) == 100
    Path("rows.jsonl").write_text('{"data": {"amount": 1, "user": "a"}, "truth": {"score": 9}}\n')
    options = ("--data", "rows.jsonl", "--key-field", "user", "--duration", "200ms")
    wrong = rdv("load", "fraud", *options, "--fail-if", "errors>0", "--fail-if", "p50>1ns")
    assert wrong.code == 99
    assert "0 % of the models' answers" in wrong.out
    assert wrong.err.startswith("error: p50 is ")
    closed = rdv("load", "fraud", "--closed", "--connections", 2, "--duration", "100ms", "--json")
    assert closed.row()["mode"] == "closed loop of 2 connections"


def test_load_fails_when_a_request_got_no_answer(rdv, serve):
    served = serve()
    port = json.loads(Path("fraud/.rdv/serve.lock").read_text())["ports"][0]
    proxy = served.pid(f"p-{port}")
    killer = threading.Timer(0.5, os.kill, (proxy, signal.SIGKILL))
    killer.start()
    outcome = rdv("load", "fraud", "--rate", 100, "--duration", "1500ms", "--json")
    killer.join()
    run = outcome.row()
    assert run["errors"] > 0
    assert outcome.code == 1
    assert f"of {run['requests']} requests got no answer: " in outcome.err
    unknown = rdv("load", "fraud", "--duration", "100ms", "--schedule", "nonsense")
    assert (unknown.code, "status 422" in unknown.err) == (1, True)


def test_load_reports_that_no_server_answers(rdv, decision):
    outcome = rdv("load", "fraud", "--duration", "100ms")
    assert (outcome.code, outcome.out) == (4, "")
    assert "connection refused" in outcome.err


def test_two_cannot_serve_the_same(rdv, serve):
    first = serve()
    second = rdv("serve", "fraud")
    assert second.code == 1
    assert f"served already, by process {first.process.pid}" in second.err
    assert ask(rdv)["kind"] == "preferred"


def test_a_port_that_is_taken_is_named(rdv, decision):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        outcome = rdv("serve", "fraud", "--port", port)
    assert outcome.code == 1
    assert f"cannot listen on 127.0.0.1:{port}: it is in use" in outcome.err
    if sys.platform == "linux":
        assert f"by process {os.getpid()} (" in outcome.err
    assert "--port" in outcome.err


@pytest.mark.parametrize("name", ["server-0", "mlp-0", "p-"])
def test_what_is_killed_comes_back(rdv, serve, name):
    served = serve()
    if name == "p-":
        name += str(json.loads(Path("fraud/.rdv/serve.lock").read_text())["ports"][0])
    os.kill(served.pid(name), signal.SIGKILL)
    served.until(rf"{name} ended \(killed by SIGKILL\); started again at once")
    served.until(rf"{name} is ready")
    assert ask_until(rdv, "preferred", "mlp")


@pytest.mark.skipif(sys.platform != "linux", reason="forks are for Linux only")
def test_a_killed_fork_server_costs_no_request(rdv, serve):
    served = serve()
    pid = served.process.pid
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    forks = [n for n in children if b"forkserver" in Path(f"/proc/{n}/cmdline").read_bytes()]
    assert len(forks) == 1
    os.kill(int(forks[0]), signal.SIGKILL)
    assert ask(rdv)["kind"] == "preferred"
    for _ in range(2):
        os.kill(served.pid("server-0"), signal.SIGKILL)
        served.until("server-0 is ready")
    assert ask_until(rdv, "preferred", "mlp")
    assert served.end() == 0


def test_no_child_survives_the_supervisor(rdv, serve):
    served = serve()
    children = {row["pid"] for row in rdv("status", "fraud", "--json").row()["processes"]}
    assert len(children) == 5
    served.process.kill()
    wait_gone(children)
    # The next supervisor can start at once.
    assert serve().end() == 0


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells of a parent's end")
def test_not_even_a_stopped_child_survives_the_supervisor(rdv, serve):
    served = serve()
    rows = rdv("status", "fraud", "--json").row()["processes"]
    for row in rows:
        os.kill(row["pid"], signal.SIGSTOP)
    served.process.kill()
    wait_gone({row["pid"] for row in rows})


LISTENER = """
import socket, sys
with socket.socket() as web:
    web.bind(("127.0.0.1", 0))
    web.listen()
    print(web.getsockname()[1], flush=True)
    sys.stdin.read()
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has /proc")
def test_a_proxy_that_a_killed_serve_has_left_behind_is_waited_for(tmp_path):
    from rdv.serve.supervisor.check import PortTaken, claim_ports
    from rdv.serve.supervisor.leftovers import VARIABLE, run_marker

    command = [sys.executable, "-c", LISTENER, "component", "proxy", str(tmp_path)]
    ended = run_marker(str(tmp_path)).rpartition(".")[0] + ".1"
    env, pipe = {**os.environ, VARIABLE: ended}, subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, env=env) as left:
        port = int(left.stdout.readline())
        with pytest.raises(PortTaken, match=f"process {left.pid}"):
            claim_ports(str(tmp_path / "other"), "127.0.0.1", [port], lambda _: None)
        told = []

        def tell(line):
            told.append(line)
            left.stdin.close()

        claim_ports(str(tmp_path), "127.0.0.1", [port], tell)
    assert told[0].startswith(f"port {port}: waiting for process {left.pid} ")


def test_a_command_that_keeps_ending_is_not_shown_as_ready(rdv, serve, start):
    serve()
    Path("ends.sh").write_text("read -r line\nexit 7\n")
    process = start("model", "run", "fraud", "ends", "--", "bash", "ends.sh")
    for raw in process.stderr:
        if b"ends takes part" in raw:
            break
    watching = start("status", "fraud", "--watch", "--json")
    for _ in range(5):
        ask(rdv)
    found = {}
    for raw in watching.stdout:
        found = {row["model"]: row for row in json.loads(raw)["models"]}.get("ends", {})
        if found.get("state") == "failing":
            break
    assert "exit code 7" in found["trouble"]
    shown = rdv("status", "fraud").out
    assert "failing" in shown
    assert "exit code 7" in shown
    process.send_signal(signal.SIGINT)
    process.stderr.read()
    assert process.wait() == 0


def test_a_command_that_ends_at_once_does_not_join(rdv, serve, start):
    serve()
    process = start("model", "run", "fraud", "brief", "--", "sh", "-c", "exit 5")
    words = process.stderr.read().decode()
    assert process.wait() == 1
    assert "exit code 5, without being asked anything" in words
    assert "brief-0 has not come up in its first attempt: giving up" in words
    assert "takes part" not in words


def test_a_second_interrupt_kills(serve):
    served = serve()
    os.kill(served.pid("mlp-0"), signal.SIGSTOP)
    os.kill(served.pid("server-0"), signal.SIGSTOP)
    served.process.send_signal(signal.SIGINT)
    served.until("stopping")
    assert served.end(signal.SIGINT) == 0


def test_another_schedule_takes_over_at_once(rdv, serve):
    serve()
    switched = rdv("schedule", "use", "fraud", "qa-challenger", "--json").row()
    assert switched["live_after_ms"] is not None
    assert ask(rdv)["schedule"].startswith("qa-challenger@")
    assert 'schedule = "qa-challenger"' in Path("fraud/rdv.toml").read_text()


def test_an_edited_model_replaces_the_old_one_and_a_broken_one_does_not(rdv, serve):
    served = serve()
    model = Path("fraud/models/rules.py")
    good = model.read_text()
    model.write_text(good + '\nversion = "rules-new"\n')
    served.until("rules-0 has changed: its successor is being started")
    served.until("rules-0 is ready")
    only_rules = ("--schedule", '{"sla_ms": 2000, "default": 0, "step": [{"accept": ["rules"]}]}')
    model.write_text("def predict(\n")
    served.until("rules-0: the new version does not start; the old one stays")
    answer = ask(rdv, *only_rules)
    assert (answer["model"], answer["version"][:10]) == ("rules", "rules-new@")
    # No other model was restarted.
    assert not [line for line in served.lines if "mlp-0 has changed" in line]


def test_models_come_and_go_with_rdv_toml(rdv, serve):
    served = serve()
    Path("fraud/models/yes.py").write_text("def predict(rows):\n    return ['yes'] * len(rows)\n")
    added = rdv("model", "add", "fraud", "yes", "--path", "fraud/models/yes.py")
    assert added.out.startswith("added yes: the running decision starts it\n")
    served.until("yes-0 is ready")
    only = '{"sla_ms": 2000, "default": 0, "step": [{"accept": ["yes"]}]}'
    assert any(ask(rdv, "--schedule", only)["result"] == "yes" for _ in range(500))
    rows = {row["model"]: row for row in rdv("model", "ls", "fraud", "--json").rows()}
    assert (rows["yes"]["code"], rows["yes"]["state"]) == ("models/yes.py", "ready")
    assert rdv("model", "rm", "fraud", "yes").code == 0
    served.until("yes-0 is not wanted any more")
    assert served.end() == 0
    with open_stream("fraud/control") as control, control.consumer(["models"]) as consumer:
        news = [json.loads(record.value) for record in consumer.poll(1000)]
    assert [n["state"] for n in news if n["model"] == "yes"] == ["up", "down"]


def test_a_model_joins_from_another_terminal_and_leaves(rdv, serve, start):
    serve()
    script = (
        'while read -r line; do id=${line#*:}; echo "{\\"id\\":${id%%,*},\\"result\\":1}"; done'
    )
    Path("echo.sh").write_text(script)
    process = start("model", "run", "fraud", "echo", "--", "bash", "echo.sh")
    try:
        for raw in process.stderr:
            if b"echo takes part" in raw:
                break
        only = '{"sla_ms": 5000, "default": 0, "step": [{"accept": ["echo"]}]}'
        assert any(ask(rdv, "--schedule", only)["result"] == 1 for _ in range(500))
        names = [row["model"] for row in rdv("model", "ls", "fraud", "--json").rows()]
        assert names == ["mlp", "logit", "rules", "echo"]
    finally:
        process.send_signal(signal.SIGINT)
    assert process.wait() == 0


def test_a_second_worker_of_a_declared_model_does_not_take_it_down(rdv, serve, start):
    serve()
    process = start("model", "run", "fraud", "mlp")
    for raw in process.stderr:
        if b"mlp-1 is ready" in raw:
            break
    process.send_signal(signal.SIGTERM)
    process.stderr.read()
    assert process.wait() == 0
    with open_stream("fraud/control") as control, control.consumer(["models"]) as consumer:
        news = [json.loads(record.value) for record in consumer.poll(1000)]
    assert [n["state"] for n in news if n["model"] == "mlp"][-1] == "up"


def test_invalid_settings_are_reported_before_anything_starts(rdv, decision):
    Path("fraud/schedules/production.toml").write_text("sla_ms = 'soon'\n")
    outcome = rdv("serve", "fraud")
    assert (outcome.code, "production.toml: sla_ms" in outcome.err) == (3, True)
    assert rdv("serve", "nowhere").code == 3


def test_status_watches_without_sleeping(serve, start):
    serve()
    watching = start("status", "fraud", "--watch", "--json")
    first, second = (json.loads(watching.stdout.readline()) for _ in range(2))
    assert first["served_by"] == second["served_by"]
    watching.send_signal(signal.SIGINT)
    watching.stdout.read()
    assert watching.wait() == 130


def test_environment_and_options_reach_the_children(rdv, decision, start, monkeypatch):
    from cli_kit import Served
    from ports import free_port

    monkeypatch.setenv("RDV_SCHEDULE", "qa-challenger")
    port = free_port()
    served = Served(start("serve", "fraud", "--port", port)).up()
    assert f":{port}/v1/decide" in "\n".join(served.lines)
    # The client finds the port although rdv.toml has a different one.
    assert ask(rdv)["schedule"].startswith("qa-challenger@")
