import pytest
from suite import StreamContract

from rdv.stream.files import files_of, is_stream


class TestFile(StreamContract):
    @pytest.fixture
    def address(self, tmp_path):
        return str(tmp_path / "stream")

    def test_it_has_files(self, world, address):
        assert not is_stream(address)
        world.producer().send("t", b"x")
        assert files_of(world.stream).segments("t", 0) == [0]
        assert is_stream(address)
