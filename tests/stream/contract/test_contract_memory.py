import uuid

import pytest
from suite import StreamContract

from rdv.stream.memory.backend import forget


class TestMemory(StreamContract):
    @pytest.fixture
    def address(self):
        name = uuid.uuid4().hex
        yield f"memory:{name}"
        forget(name)
