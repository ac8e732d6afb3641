"""Prometheus itself: its promtool checks the rules, and its server scrapes a running decision."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import urllib.parse
import urllib.request
from collections.abc import Iterable
from pathlib import Path

import pytest
from debian import debian_program
from ports import free_port
from running import Client, Load, write_decision
from waiting import wait_until

CANARY = """
[models.watch]
builtin = "canary"
path = "models/fast.py"
"""


@pytest.fixture(scope="module")
def programs():
    """Return the paths of prometheus and promtool; Debian's package is installed if needed."""
    return debian_program("prometheus"), debian_program("promtool", "prometheus")


def rdv(*arguments: object) -> str:
    command = [sys.executable, "-m", "rdv", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, check=True, text=True).stdout


@pytest.fixture(scope="module")
def rules(tmp_path_factory) -> Path:
    """Return the rules file of a decision with a canary."""
    directory = tmp_path_factory.mktemp("rules") / "fraud"
    write_decision(directory, more=CANARY)
    path = directory / "rules.yml"
    path.write_text(rdv("metrics", "rules", directory))
    return path


def test_the_rules_are_valid(rules, programs):
    subprocess.run([programs[1], "check", "rules", str(rules)], check=True)


ONE = 'decision="fraud"'
ANSWERS = f'rdv_decisions_total{{{ONE},kind="preferred",model="gbm"}}'
DEFAULTS = f'rdv_decisions_total{{{ONE},kind="default",model=""}}'
LATE = f"rdv_late_answers_total{{{ONE}}}"
TIMED = f"rdv_decision_duration_seconds_count{{{ONE}}}"
LAG = f"rdv_console_lag_seconds{{{ONE}}}"
FREE, DISK = f"rdv_disk_free_bytes{{{ONE}}}", f"rdv_disk_bytes{{{ONE}}}"
UNLOGGED = f'rdv_log_unlogged_total{{{ONE},what="requests"}}'
TOO_LARGE = f'rdv_log_unlogged_total{{{ONE},what="too_large"}}'
UP = f'rdv_model_instances{{{ONE},model="gbm"}}'


def reports(outcome: str) -> str:
    return f'rdv_model_reports_total{{{ONE},model="gbm",outcome="{outcome}"}}'


def canary(what: str) -> str:
    return f'rdv_model_{what}_total{{{ONE},model="watch"}}'


CALM = {
    ANSWERS: "0+600x200",
    DEFAULTS: "0x200",
    LATE: "0x200",
    TIMED: "0+600x200",
    LAG: "0x200",
    FREE: "800x200",
    DISK: "1000x200",
    UNLOGGED: "0x200",
    TOO_LARGE: "0x180 1x20",
    UP: "1x200",
    reports("result"): "0+600x200",
    reports("silent"): "0x200",
    reports("behind"): "0x200",
    reports("error"): "0x200",
    canary("compared"): "0+600x200",
    canary("agreed"): "0+570x200",
}
"""Three hours in which all is well, in steps of a minute."""

INCIDENTS = {
    "RdvErrorBudgetBurn": {DEFAULTS: "0x100 0+60x100"},
    "RdvLatencyBudgetBurn": {LATE: "0x100 0+100x100"},
    "RdvDefaultShare": {DEFAULTS: "0x100 0+60x100"},
    "RdvModelSilent": {
        reports("result"): "0+600x100 60000x100",
        reports("silent"): "0x100 0+600x100",
    },
    "RdvModelBehind": {
        reports("result"): "0+600x100 60100+100x100",
        reports("behind"): "0x100 0+500x100",
    },
    "RdvModelFailing": {reports("error"): "0x100 0+60x100"},
    "RdvModelDown": {UP: "1x100 0x100"},
    "RdvCanaryDisagrees": {canary("agreed"): "0+570x100 57300+300x100"},
    "RdvUnlogged": {UNLOGGED: "0x100 0+5x100"},
    "RdvDiskFull": {FREE: "800x100 40x100"},
    "RdvDiskFilling": {FREE: "299-0.6x200"},
    "RdvConsoleBehind": {LAG: "0x100 300x100"},
    "RdvConsoleGone": {LAG: "0x100 stale"},
}
"""By alert, what goes on after the first hundred minutes."""

BURNS = ("RdvErrorBudgetBurn", "RdvLatencyBudgetBurn")
FACTORS = ("14.4", "6", "1")
"""Each of these alerts comes with each of these labels `burn`."""

QUIET = {
    ANSWERS: "0+0.2x200",
    DEFAULTS: "0x119 1x66 2x13",
    LATE: "0x119 1x66 2x13",
    TIMED: "0+0.2x200",
    canary("compared"): "0+0.2x200",
    canary("agreed"): "0+0.2x140 28x59",
}
"""A request every five minutes, of which two had the default, too late."""

AT = "190m"


def unit_test(changed: dict[str, str], alerts: Iterable[str]) -> dict[str, object]:
    """Return a test of promtool in which none of these alerts is expected."""
    return {
        "interval": "1m",
        "input_series": [
            {"series": name, "values": values} for name, values in (CALM | changed).items()
        ],
        "alert_rule_test": [
            {"eval_time": AT, "alertname": alert, "exp_alerts": []} for alert in alerts
        ],
    }


def fired(
    programs, rules: Path, path: Path, tests: list[dict[str, object]]
) -> set[tuple[str, str]]:
    """Return the alerts that fired, with their label `burn`: promtool was told to expect none."""
    config = {"rule_files": [str(rules)], "evaluation_interval": "2m", "tests": tests}
    path.write_text(json.dumps(config))  # JSON is YAML
    command = [programs[1], "test", "rules", str(path)]
    found = subprocess.run(command, capture_output=True, text=True, check=False)
    said = found.stdout + found.stderr
    alerts = set(re.findall(r'alertname="(\w+)"(?:, burn="([\d.]+)")?', said))
    assert bool(found.returncode) == bool(alerts), said
    return alerts


def test_every_alert_has_an_incident(rules):
    assert set(re.findall(r"- alert: (\w+)", rules.read_text())) == set(INCIDENTS)


def test_each_alert_fires_in_its_incident(programs, rules, tmp_path):
    tests = [unit_test(changed, [alert]) for alert, changed in INCIDENTS.items()]
    expected = {(alert, burn) for alert in BURNS for burn in FACTORS}
    expected |= {(alert, "") for alert in INCIDENTS if alert not in BURNS}
    assert fired(programs, rules, tmp_path / "tests.yml", tests) == expected


def test_no_alert_fires_in_a_calm_time(programs, rules, tmp_path):
    tests = [unit_test(changed, INCIDENTS) for changed in ({}, QUIET)]
    assert fired(programs, rules, tmp_path / "tests.yml", tests) == set()


class Prometheus:
    """A server that scrapes one console, each second."""

    def __init__(self, program: str, directory: Path, target: int, rules: Path) -> None:
        self.port = free_port()
        directory.mkdir()
        config = {
            "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
            "rule_files": [str(rules)],
            "scrape_configs": [
                {"job_name": "rdv", "static_configs": [{"targets": [f"127.0.0.1:{target}"]}]}
            ],
        }
        (directory / "prometheus.yml").write_text(json.dumps(config))
        command = [
            program,
            f"--config.file={directory}/prometheus.yml",
            f"--storage.tsdb.path={directory}/data",
            f"--web.listen-address=127.0.0.1:{self.port}",
        ]
        self._log = (directory / "log").open("wb")
        self.process = subprocess.Popen(command, stdout=self._log, stderr=self._log)

    def query(self, expr: str) -> list:
        url = f"http://127.0.0.1:{self.port}/api/v1/query?" + urllib.parse.urlencode(
            {"query": expr}
        )
        try:
            with urllib.request.urlopen(url, timeout=30) as answer:
                return json.load(answer)["data"]["result"]
        except OSError:
            return []

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        self._log.close()


@pytest.fixture(scope="module")
def scraped(programs, rules, tmp_path_factory):
    """Run a decision under load, and a Prometheus that scrapes it."""
    directory = tmp_path_factory.mktemp("scraped") / "fraud"
    console = free_port()
    more = f"[console]\nport = {console}\n[outcome]\ntype = 'probability'\n{CANARY}"
    port = write_decision(directory, more=more)
    environment = {**os.environ, "RDV_CONSOLE_ENABLED": "true"}
    command = [sys.executable, "-m", "rdv", "serve", str(directory)]
    serve = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL)
    prometheus = Prometheus(programs[0], directory.parent / "prometheus", console, rules)
    try:
        wait_until(lambda: is_ready(port))
        with Load([port], clients=1):
            wait_until(lambda: prometheus.query("rdv_decisions_total"))
            yield directory, console, prometheus
    finally:
        prometheus.close()
        serve.send_signal(signal.SIGTERM)
        serve.wait(60)


def is_ready(port: int) -> bool:
    try:
        with Client(port) as client:
            return client.get("/readyz")[0] == 200
    except OSError:
        return False


def test_promtool_accepts_the_metrics(scraped, programs):
    _, console, _ = scraped
    with urllib.request.urlopen(f"http://127.0.0.1:{console}/metrics", timeout=30) as answer:
        text = answer.read()
    subprocess.run([programs[1], "check", "metrics"], input=text, check=True)


@pytest.mark.parametrize("options", [(), ("--across",)])
def test_every_panel_has_data(scraped, options):
    directory, _, prometheus = scraped
    dashboard = json.loads(rdv("metrics", "dashboard", directory, *options))
    assert {v["name"] for v in dashboard["templating"]["list"]} >= {"datasource"}
    empty = [
        (panel["title"], expr)
        for panel in dashboard["panels"]
        for expr in (shown(target["expr"]) for target in panel["targets"])
        if not wait_for_data(prometheus, expr)
    ]
    assert empty == []


def shown(expr: str) -> str:
    """Return a query as Grafana sends it."""
    return expr.replace("$__rate_interval", "10s").replace("$decision", "fraud")


def wait_for_data(prometheus: Prometheus, expr: str) -> list:
    try:
        return wait_until(lambda: has_number(prometheus.query(expr)), every_s=0.2)
    except AssertionError:
        return []


def has_number(found: list) -> list:
    return [one for one in found if one["value"][1] != "NaN"]


def test_the_recording_rules_have_data(scraped):
    _, _, prometheus = scraped
    assert wait_until(lambda: has_number(prometheus.query("rdv:late:ratio_rate5m")))
    assert wait_until(lambda: has_number(prometheus.query("rdv:defaults:ratio_rate5m")))
