import pytest
from suite import StreamContract


class TestFile(StreamContract):
    @pytest.fixture
    def address(self, tmp_path):
        return str(tmp_path / "stream")
