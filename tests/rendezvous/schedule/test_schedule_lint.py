"""Check the linter: each finding, and silence where all is well."""

from __future__ import annotations

import pytest

from rdv.rendezvous.schedule import lint_schedule, schedule_from_object

GOOD = [
    {"until_ms": 30, "accept": ["gbm"]},
    {"until_ms": 45, "accept": ["gbm", "logit"]},
    {"accept": ["*"]},
]


def lint(steps, known=("gbm", "logit", "rules"), retired=(), **said):
    plain = {"sla_ms": 50, "default": 0, "step": steps, **said}
    return lint_schedule(schedule_from_object(plain, "s"), known, retired)


def test_a_good_schedule_has_no_findings() -> None:
    assert lint(GOOD) == []
    assert lint(GOOD, known=None) == []


@pytest.mark.parametrize(
    ("steps", "severity", "code", "key"),
    [
        ([{"accept": ["gbm", "nbm"]}], "error", "model-unknown", "step[1].accept"),
        ([{"accept": ["gbm", "old"]}], "error", "model-retired", "step[1].accept"),
        ([{"until_ms": 60, "accept": ["*"]}], "error", "beyond-sla", "step[1].until_ms"),
        (
            [{"until_ms": 60, "accept": ["gbm"]}, {"accept": ["*"]}],
            "error", "step-unreachable", "step[2]",
        ),
        (
            [{"until_ms": 30, "accept": ["gbm"]}, {"until_ms": 30, "accept": ["*"]}],
            "error", "until-not-increasing", "step[2].until_ms",
        ),
        ([{"until_ms": 40, "accept": ["*"]}], "warning", "gives-up-early", "step[1].until_ms"),
        ([{"accept": ["*", "gbm"]}], "warning", "wildcard-first", "step[1].accept"),
        (
            [{"until_ms": 30, "accept": ["*"]}, {"accept": ["gbm", "logit"]}],
            "warning", "step-redundant", "step[2].accept",
        ),
        ([{"accept": ["gbm"]}], "warning", "no-fallback", "step"),
        (
            [{"accept": ["gbm", "logit"], "need": 3}],
            "error", "need-too-large", "step[1].need",
        ),
        ([{"accept": ["*"], "need": 4}], "error", "need-too-large", "step[1].need"),
        (
            [{"until_ms": 30, "accept": ["gbm"]}, {"accept": ["*"], "need": 2}],
            "warning", "last-step-needs-several", "step[2].need",
        ),
    ],
)  # fmt: skip
def test_findings(steps, severity, code, key) -> None:
    found = {finding.code: finding for finding in lint(steps, retired=["old"])}
    assert code in found
    finding = found[code]
    assert (finding.severity, finding.key) == (severity, key)
    assert str(finding) == f"{severity}: {key}: {finding.message} ({code})"


def test_default_missing() -> None:
    (finding,) = lint_schedule(schedule_from_object({"sla_ms": 50, "step": GOOD}))
    assert (finding.code, finding.severity) == ("default-missing", "error")


def test_one_model_behind_the_wildcard_is_no_fallback() -> None:
    assert [f.code for f in lint([{"accept": ["*"]}], known=["gbm"])] == ["no-fallback"]


def test_errors_come_first() -> None:
    found = lint([{"until_ms": 40, "accept": ["nbm"]}])
    assert [finding.severity for finding in found] == ["error", "warning", "warning"]
