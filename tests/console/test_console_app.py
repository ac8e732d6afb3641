"""The console's application: metrics in both forms, and who may read them."""

from __future__ import annotations

import pytest
from asgi import AsgiClient
from fake_clock import FakeClock
from made_log import BEGIN_NS, varied
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics
from prometheus_client.parser import text_string_to_metric_families as prometheus
from running import write_decision

from rdv.console.app import make_app
from rdv.console.console import Console
from rdv.decision import Decision, Http, InvalidDecision, load_decision
from rdv.decision.console import Console as ConsoleSettings
from rdv.serve.supervisor.check import check

OPENMETRICS = "application/openmetrics-text; version=1.0.0"


@pytest.fixture(scope="module")
def console(tmp_path_factory):
    directory = tmp_path_factory.mktemp("log")
    varied(100).write(directory)
    (directory / "rdv.toml").write_text("")
    decision = Decision(directory=str(directory), name="fraud")
    clock = FakeClock(BEGIN_NS + 10**11)
    console = Console(str(directory), lambda: decision, saves=False, clock=clock)
    while console.turn():
        pass
    return console


@pytest.fixture(scope="module")
def client(console):
    return AsgiClient(make_app(console), base_url="http://127.0.0.1:8180")


def values(families, name):
    return {
        tuple(sorted(sample.labels.items())): sample.value
        for family in families
        for sample in family.samples
        if sample.name == name
    }


@pytest.mark.parametrize(
    ("accept", "parse"), [("text/plain", prometheus), (OPENMETRICS, openmetrics)]
)
def test_metrics_in_both_forms(client, console, accept, parse):
    answer = client.get("/metrics", headers={"Accept": accept})
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith(accept.partition(";")[0])
    families = list(parse(answer.text))
    found = values(families, "rdv_decisions_total")
    assert sum(found.values()) == 100
    buckets = values(families, "rdv_decision_duration_seconds_bucket")
    edges = {dict(labels)["le"] for labels in buckets}
    assert {"0.03", "0.045", "0.05", "+Inf"} <= edges, "the ends of the steps, and the SLA"
    labels = {name for labels in found for name, _ in labels}
    assert labels == {"decision", "kind", "model", "schedule", "cohort"}


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Host": "127.0.0.1:8180"}, 200),
        ({"Host": "localhost"}, 200),
        ({"Host": "evil.example"}, 421),
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "http://127.0.0.1:8180"}, 200),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Host": ""}, 400),
    ],
)
@pytest.mark.parametrize("path", ["/metrics", "/decisions"])
def test_hosts_and_origins_as_at_the_proxy(client, headers, status, path):
    answer = client.get(path, headers=headers)
    assert answer.status_code == status
    if status != 200:
        assert answer.json()["error"]["code"]


def test_pages_that_may_ask_for_decisions_may_not_read_them(console, monkeypatch):
    shop = "https://shop.example"
    opened = console.decision.replace(http=Http(origins=[shop]))
    monkeypatch.setattr(console, "_decision", opened)
    client = AsgiClient(make_app(console), base_url="http://127.0.0.1:8180")
    for path in ("/metrics", "/decisions"):
        answer = client.get(path, headers={"Origin": shop})
        assert answer.status_code == 403
        assert "access-control-allow-origin" not in answer.headers


def test_an_open_console_needs_names(console, monkeypatch):
    with pytest.raises(InvalidDecision, match=r"http\.hosts"):
        make_app(console, "0.0.0.0")
    closed = console.decision
    monkeypatch.setattr(console, "_decision", closed.replace(http=Http(hosts=["metrics.example"])))
    client = AsgiClient(make_app(console, "0.0.0.0"), base_url="http://metrics.example")
    assert client.get("/metrics").status_code == 200
    # An edit is followed; one that cannot be used changes nothing.
    monkeypatch.setattr(console, "_decision", closed.replace(http=Http(hosts=["b.example"])))
    assert client.get("/metrics").status_code == 421
    monkeypatch.setattr(console, "_decision", closed.replace(http=Http()))
    assert client.get("/metrics", headers={"Host": "b.example"}).status_code == 200


def test_serve_refuses_an_open_console_without_names(tmp_path):
    write_decision(tmp_path / "d")
    decision = load_decision(str(tmp_path / "d"), {})
    check(decision, lambda *_: None)
    opened = decision.replace(console=ConsoleSettings(host="0.0.0.0"))
    with pytest.raises(InvalidDecision, match=r"http\.hosts"):
        check(opened, lambda *_: None)
    check(opened.replace(console=ConsoleSettings(host="0.0.0.0", enabled=False)), lambda *_: None)
