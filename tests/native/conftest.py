"""Check the C extension, which must do what the Python code beside it does."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

HERE = str(Path(__file__).parent)
if HERE not in sys.path:
    sys.path.insert(0, HERE)

from rdv.native import NATIVE  # noqa: E402

pytest.register_assert_rewrite("native_kit")


@pytest.fixture(scope="session")
def native():
    """Return the extension. `RDV_NATIVE=require` makes its absence a failure."""
    if NATIVE is None:
        reason = "the C extension is not built, or turned off by RDV_NATIVE=0"
        if os.environ.get("RDV_NATIVE") == "require":
            pytest.fail(reason)
        pytest.skip(reason)
    return NATIVE
