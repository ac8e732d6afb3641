import pytest

pytest.register_assert_rewrite(
    "contract_kit",
    "contract_sending",
    "contract_topics",
    "contract_reading",
    "contract_places",
    "contract_waiting",
    "contract_groups",
    "contract_closing",
    "suite",
)
