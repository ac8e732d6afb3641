import uuid

import pytest
from suite import StreamContract

from rdv.stream.errors import NotInFiles
from rdv.stream.files import files_of
from rdv.stream.memory.backend import forget


class TestMemory(StreamContract):
    @pytest.fixture
    def address(self):
        name = uuid.uuid4().hex
        yield f"memory:{name}"
        forget(name)

    def test_it_has_no_files_and_says_so(self, world):
        with pytest.raises(NotInFiles) as caught:
            files_of(world.stream)
        assert world.address in caught.value.text()
