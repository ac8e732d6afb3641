"""Wait for a condition, with the one deadline that all tests share."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

DEADLINE_S = 60
"""The time that a test waits for anything, in seconds: generous, as the machine may be busy."""


def wait_until(
    condition: Callable[[], Any], missing: str = "waited in vain", every_s: float = 0.01
) -> Any:
    """Return the first true value of `condition()`; fail with `missing` after DEADLINE_S."""
    end_s = time.monotonic() + DEADLINE_S
    while not (found := condition()):
        assert time.monotonic() < end_s, missing
        time.sleep(every_s)
    return found
