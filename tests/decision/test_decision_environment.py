"""Check the environment variables RDV_*."""

import pytest

from rdv.decision import InvalidDecision, environment_names, load_decision, parse_decision
from rdv.decision import with_environment as override

PLAIN = parse_decision("[http]\nproxies = 2", "x")


def test_variables_take_the_place_of_the_files_settings():
    decision = override(
        PLAIN,
        {
            "RDV_HTTP_PORT": "9_000",
            "RDV_SCHEDULE": "ab",
            "RDV_LOG_FSYNC": "always",
            "RDV_LOG_RETENTION_MS": "forever",
            "RDV_SERVER_INSTANCES": "3",
            "RDV_SOMETHING_ELSE": "not ours",
            "PATH": "/bin",
        },
    )
    assert (decision.http.port, decision.http.proxies) == (9000, 2)
    assert (decision.schedule, decision.log.fsync, decision.log.retention_ms) == (
        "ab",
        "always",
        "forever",
    )
    assert decision.server.instances == 3


@pytest.mark.parametrize(
    ("variable", "value", "reason"),
    [
        ("RDV_HTTP_PORT", "http", "'http': expected `int`"),
        ("RDV_HTTP_PORT", "", "expected `int`"),
        ("RDV_HTTP_PORT", "²", "expected `int`"),
        ("RDV_HTTP_PORT", "-1", "expected `int`"),
        ("RDV_PARTITIONS", "0", ">= 1"),
        ("RDV_LOG_FSYNC", "never", "invalid enum value"),
        ("RDV_SCHEDULE", "../x", "cannot be a name"),
        ("RDV_HTTP_PROT", "1", "no such setting"),
    ],
)
def test_what_cannot_be_used_is_named(variable, value, reason):
    with pytest.raises(InvalidDecision) as caught:
        override(PLAIN, {variable: value})
    assert (caught.value.where, caught.value.key) == ("environment", variable)
    assert reason in caught.value.reason


def test_together_they_are_checked_as_well():
    with pytest.raises(InvalidDecision, match="need ports above"):
        override(PLAIN, {"RDV_HTTP_PORT": "65535"})


def test_every_plain_setting_has_a_variable(tmp_path):
    assert {"RDV_SCHEDULE", "RDV_PARTITIONS", "RDV_HTTP_ENRICH", "RDV_LOG_SEGMENT_BYTES"} <= set(
        environment_names()
    )
    (tmp_path / "rdv.toml").write_text("")
    assert load_decision(str(tmp_path), {"RDV_PARTITIONS": "4"}).partitions == 4
    assert load_decision(str(tmp_path)).partitions == 1
