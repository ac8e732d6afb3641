from __future__ import annotations

import pytest
from http_kit import Door


@pytest.fixture
def make_door():
    doors = []

    def make(**options):
        doors.append(Door(**options))
        return doors[-1]

    yield make
    for door in doors:
        door.stop()


@pytest.fixture(params=["uvloop", "asyncio"])
def kind(request):
    return request.param


@pytest.fixture
def door(make_door, kind):
    return make_door(kind=kind)
