"""Configure all tests: which are slow, in which order they run, how many examples they try.

`RDV_EXAMPLES=20` tries twenty times as many examples in each property (`make soak`).
"""

from __future__ import annotations

import faulthandler
import os
import sys
from functools import cache
from pathlib import Path

import hypothesis
import pytest

pytest_plugins = ["trained"]

QUICK_EXAMPLES = 10
"""The most examples of a property that `pytest -m "not slow"` tries."""
EXAMPLES = float(os.environ.get("RDV_EXAMPLES", "1"))
TEARDOWN_S = 60
HANGS_S = 360
"""After this time, in seconds, a test process ends: its timeout's signal has had no effect."""

# A busy machine draws examples slowly, and runs them slowly; that is no fault of a test.
hypothesis.settings.register_profile(
    "rdv", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("rdv")

# Hundreds of processes are started. Without cached bytecode each would compile all that it imports.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

# Hundreds of decisions are served, too: those that need their console turn it on.
os.environ.setdefault("RDV_CONSOLE_ENABLED", "false")

SLOW = (
    "api/",
    "client/test_client_served.py",
    "client/test_import_rdv.py",
    "embedded/test_local.py",
    "examples/",
    "commands/",
    "serve/test_",
    "decision/test_decision_edit.py",
    "decision/test_watching.py",
    "load/drill/",
    "analysis/ab/",
    "analysis/compare/",
    "analysis/digests/",
    "analysis/export/",
    "analysis/promote/",
    "analysis/charts/test_pictures_page.py",
    "analysis/measure/",
    "analysis/metrics/test_metrics_coverage.py",
    "analysis/metrics/test_metrics_sklearn.py",
    "analysis/replay/",
    "analysis/reports/",
    "analysis/statistics/",
    "analysis/test_",
    "http/test_http_fuzz.py",
    "http/test_http_limits.py",
    "http/test_http_reader.py",
    "http/test_http_refusals.py",
    "http/test_http_shares.py",
    "models/test_child_process.py",
    "models/test_model_command.py",
    "models/test_model_estimator.py",
    "models/test_model_python.py",
    "models/test_model_versions.py",
    "native/test_native_arguments.py",
    "native/test_native_build.py",
    "native/test_native_processes.py",
    "native/test_native_same_files.py",
    "native/test_native_same_reads.py",
    "rendezvous/test_engine_promises.py",
    "rendezvous/test_engine_reference.py",
    "simulation/test_past_bugs.py",
    "simulation/test_mutants.py",
    "stream/contract/test_contract_file.py",
    "stream/file/test_chain.py",
    "stream/file/test_log_model.py",
    "stream/file/test_writers_clocks.py",
    "stream/groups/",
    "stream/survival/",
    "stream/unit/test_assignment.py",
    "stream/unit/test_group_state.py",
    "serve/supervisor/test_starter.py",
    "templates/test_ads",
    "templates/test_case",
    "test_docs",
    "test_snippets.py",
    "test_payload.py",
    "test_public_files.py",
    "test_wheel.py",
)
"""Tests in these places start processes or take long: `pytest -m "not slow"` skips them."""

QUICK = (
    "commands/test_cli_append.py",
    "commands/test_cli_damage.py",
    "commands/test_cli_load_figures.py",
    "commands/test_cli_tail.py",
    "commands/test_cli_units.py",
)
"""Exceptions from SLOW: each part of the product has quick tests."""

SLOW_FIXTURES = {"trained"}
"""Fixtures that train models: the tests that use them are slow."""

LONG = (
    "test_snippets.py",
    "commands/test_cli_serve.py",
    "load/drill/test_drill_processes.py",
    "stream/survival/test_survive_power_loss.py",
    "templates/test_init.py",
    "commands/test_cli_settings_live.py",
    "commands/test_cli_stages_contract.py",
    "commands/test_cli_read_only.py",
    "commands/test_cli_lost_files.py",
    "templates/",
    "serve/test_clock_steps.py",
    "serve/test_lost_files.py",
    "simulation/",
    "commands/test_cli_codes.py",
    "commands/test_cli_payloads.py",
    "commands/test_cli_standard_streams.py",
    "analysis/test_regress.py",
    "analysis/promote/",
    "stream/survival/",
    "commands/",
    "serve/",
    "analysis/",
)
"""What takes longest is started first, so that no process is left with it at the end."""

TESTS = Path(__file__).parent


def place_of(item):
    return place_of_file(item.path)


@cache
def place_of_file(path):
    return path.relative_to(TESTS).as_posix()


@cache
def is_slow(place):
    return place.startswith(SLOW) and not place.startswith(QUICK)


def pytest_ignore_collect(collection_path, config):
    """Do not even import the slow tests for `-m "not slow"`."""
    if "not slow" not in config.option.markexpr:
        return None
    place = collection_path.relative_to(TESTS).as_posix() if collection_path != TESTS else ""
    return is_slow(place) or None


def pytest_make_parametrize_id(config, val, argname):
    """Name bytes that are no text by their argument: gzip has the time in it, and the processes of
    one run must find the same names.
    """
    if isinstance(val, bytes) and not (val.isascii() and val.decode().isprintable()):
        return argname
    return None


GZIP = "\\x1f\\x8b"
"""How the first bytes of gzip look in a test's name; the time follows them."""


def pytest_collection_modifyitems(config, items):
    for item in items:
        if GZIP in item.nodeid:
            raise pytest.UsageError(f"the name of a test has the time in it: {item.nodeid}")
        trains = SLOW_FIXTURES & set(item.fixturenames)
        if trains or is_slow(place_of(item)) or item.get_closest_marker("soak"):
            item.add_marker("slow")
        set_examples(item, is_quick="not slow" in config.option.markexpr)
    items.sort(key=rank)


def rank(item):
    return rank_of_place(place_of(item))


@cache
def rank_of_place(place):
    return next((n for n, prefix in enumerate(LONG) if place.startswith(prefix)), len(LONG))


def set_examples(item, *, is_quick):
    test = getattr(getattr(item, "obj", None), "__func__", getattr(item, "obj", None))
    if (EXAMPLES == 1 and not is_quick) or not hypothesis.is_hypothesis_test(test):
        return
    own = test._hypothesis_internal_use_settings
    count = max(1, int(own.max_examples * EXAMPLES))
    test._hypothesis_internal_use_settings = hypothesis.settings(
        own, max_examples=min(count, QUICK_EXAMPLES) if is_quick else count
    )


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    report = yield
    item.stash[FAILED] = item.stash.get(FAILED, False) or report.failed
    return report


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup():
    faulthandler.dump_traceback_later(HANGS_S, exit=True)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_teardown(item):
    """End the process if the teardown of a failed test hangs: its timeout has been cancelled."""
    if item.stash.get(FAILED, False):
        faulthandler.dump_traceback_later(TEARDOWN_S, exit=True)
    try:
        return (yield)
    finally:
        faulthandler.cancel_dump_traceback_later()


FAILED = pytest.StashKey[bool]()
