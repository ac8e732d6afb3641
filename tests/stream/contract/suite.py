"""Collect the contract that every backend keeps. A backend inherits it and adds its address."""

from contextlib import ExitStack

import pytest
from contract_closing import Closing
from contract_components import Components
from contract_groups import Groups
from contract_kit import World
from contract_places import Places
from contract_reading import Reading
from contract_sending import Sending
from contract_topics import Topics
from contract_waiting import Waiting


class StreamContract(Sending, Topics, Reading, Places, Waiting, Components, Groups, Closing):
    @pytest.fixture
    def address(self, tmp_path):
        raise NotImplementedError

    @pytest.fixture
    def world(self, address):
        with ExitStack() as exits:
            yield World(address, exits)
