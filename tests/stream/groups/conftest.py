import pytest

pytest.register_assert_rewrite("group_kit")
