"""Configure all tests."""

from __future__ import annotations

import faulthandler
import os
import sys
from pathlib import Path

import hypothesis
import pytest

hypothesis.settings.register_profile("quick", max_examples=20)

# Hundreds of processes are started. Without cached bytecode each would compile all that it imports.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

TEARDOWN_S = 60

SLOW = (
    "commands/",
    "serve/test_",
    "decision/test_decision_edit.py",
    "decision/test_watching.py",
    "load/drill/",
    "analysis/ab/",
    "analysis/compare/",
    "analysis/export/",
    "analysis/promote/",
    "analysis/replay/",
    "analysis/statistics/",
    "analysis/test_",
    "http/test_http_fuzz.py",
    "http/test_http_limits.py",
    "http/test_http_reader.py",
    "http/test_http_shares.py",
    "models/test_model_command.py",
    "models/test_model_python.py",
    "native/test_native_arguments.py",
    "native/test_native_build.py",
    "native/test_native_processes.py",
    "rendezvous/test_engine_promises.py",
    "rendezvous/test_engine_reference.py",
    "simulation/",
    "stream/contract/test_contract_file.py",
    "stream/file/test_chain.py",
    "stream/file/test_log_model.py",
    "stream/file/test_writers_clocks.py",
    "stream/groups/",
    "stream/survival/",
    "status/",
    "stream/unit/test_assignment.py",
    "stream/unit/test_group_state.py",
    "serve/supervisor/test_starter.py",
    "templates/",
    "test_docs",
    "test_snippets.py",
    "test_payload.py",
    "test_public_files.py",
    "test_wheel.py",
)
"""Tests in these places start processes or take long: `pytest -m "not slow"` skips them."""

TESTS = Path(__file__).parent


def pytest_ignore_collect(collection_path, config):
    """Do not even import the slow tests for `-m "not slow"`, and draw fewer examples then."""
    if "not slow" not in config.option.markexpr:
        return None
    hypothesis.settings.load_profile("quick")
    place = collection_path.relative_to(TESTS).as_posix() if collection_path != TESTS else ""
    return place.startswith(SLOW) or f"{place}/" in SLOW or None


def pytest_collection_modifyitems(items):
    for item in items:
        place = item.path.relative_to(TESTS).as_posix()
        if place.startswith(SLOW) or item.get_closest_marker("soak"):
            item.add_marker("slow")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    report = yield
    item.stash[FAILED] = item.stash.get(FAILED, False) or report.failed
    return report


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_teardown(item):
    """End the process if the teardown of a failed test hangs: its timeout has been cancelled."""
    if not item.stash.get(FAILED, False):
        return (yield)
    faulthandler.dump_traceback_later(TEARDOWN_S, exit=True)
    try:
        return (yield)
    finally:
        faulthandler.cancel_dump_traceback_later()


FAILED = pytest.StashKey[bool]()
