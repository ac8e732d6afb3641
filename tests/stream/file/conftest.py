import pytest

pytest.register_assert_rewrite("log_model")
