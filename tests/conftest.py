"""What holds for all tests."""

from __future__ import annotations

import faulthandler

import pytest

TEARDOWN_S = 60


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
