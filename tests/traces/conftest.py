from __future__ import annotations

import pytest
from collector import Collector


@pytest.fixture
def collector():
    with Collector() as found:
        yield found
