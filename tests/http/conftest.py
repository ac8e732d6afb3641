from __future__ import annotations

import pytest
from http_kit import WebServer


@pytest.fixture
def make_web():
    servers = []

    def make(**options):
        servers.append(WebServer(**options))
        return servers[-1]

    yield make
    for web in servers:
        web.stop()


@pytest.fixture(params=["uvloop", "asyncio"])
def kind(request):
    return request.param


@pytest.fixture
def web(make_web, kind):
    return make_web(kind=kind)
