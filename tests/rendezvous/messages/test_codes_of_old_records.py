"""Check that records of rdv 0.1.0, which have sentences only, get the codes of today."""

from __future__ import annotations

import orjson
import pytest

from rdv.rendezvous.messages import decode_result, decode_score, report_code, result_code

RESULTS = [
    ("default", "expired on arrival", "expired"),
    ("default", "overloaded", "overloaded"),
    ("default", "overloaded: too many requests in flight", "overloaded"),
    ("default", "unknown schedule 'x is down'", "unknown_schedule"),
    ("default", "invalid schedule: longer than 65536 bytes", "invalid_schedule"),
    ("default", "invalid inline: step[0].accept: is empty", "invalid_schedule"),
    ("default", "no answer that would do by 50 ms: gbm is down, a has not answered",
     "no_answer_in_time"),
    ("default", "no answer that would do by 50 ms", "no_answer_in_time"),
    ("default", "nobody is left to wait for: gbm error (x has not answered)", "no_model_left"),
    ("default", "nobody is left to wait for", "no_model_left"),
    ("default", "no result came by the SLA", "no_result_in_time"),
    ("default", "not logged: cannot write to d: no space left on device", "not_logged"),
    ("default", "the proxy is stopping", "stopping"),
    ("default", "mlp has nothing to say", "champion_silent"),
    ("default", "mlp failed: ValueError: gbm is down here", "champion_failed"),
    ("default", "whatever this was", "unspecified"),
    ("default", "", "unspecified"),
    ("fallback", "", "step_1_missed"),
    ("fallback", "step 1 did not get what it needs", "step_1_missed"),
    ("fallback", "the answers cannot be combined by mean", "answers_not_combined"),
    ("fallback", "direct: only mlp is asked", "only_one_model"),
    ("fallback", "gbm is down", "champion_down"),
    ("fallback", "gbm has not answered", "champion_late"),
    ("fallback", "gbm behind (12.5 ms late)", "champion_behind"),
    ("fallback", "gbm expired (1.0 ms late)", "champion_expired"),
    ("fallback", "gbm not sampled", "champion_not_asked"),
    ("fallback", "gbm error (RuntimeError: it behind (x))", "champion_failed"),
    ("fallback", "gbm error", "champion_failed"),
    ("preferred", "", ""),
]  # fmt: skip
ERRORS = [
    ("the worker ended in this batch: the model crashed, exited, or was killed", "worker_ended"),
    ("the model hung and was ended", "timeout"),
    ("no answer within 10000 ms", "timeout"),
    ("the data is not JSON: unexpected character: line 1 column 1 (char 0)", "invalid_data"),
    ("predict returned None, not a list of one result for each row", "invalid_result"),
    ("predict returned 2 results for 3 rows", "invalid_result"),
    ("the model's result is NaN", "invalid_result"),
    ("the model's result.p[3] is nan", "invalid_result"),
    ("the command has failed: it ended with exit code 3; next start in 200 ms", "process_ended"),
    ("it ended with exit code 3", "process_ended"),
    ("it was ended by SIGSEGV", "process_ended"),
    ("it wrote 'hello': JSON is malformed", "invalid_answer"),
    ("it answered 17, which is not an open question", "invalid_answer"),
    ("its answer to 3 has neither a result nor an error", "invalid_answer"),
    ("KeyError: 'amount'", "predict_raised"),
    ("no such luck", "predict_raised"),
]


@pytest.mark.parametrize(("kind", "reason", "code"), RESULTS)
def test_results(kind, reason, code):
    line = {"v": 1, "id": "i", "reply_to": "p", "kind": kind, "result": 0, "schedule": "s"}
    result = decode_result(orjson.dumps({**line, "waited_ms": 1.0, "reason": reason}))
    assert result_code(result) == code


@pytest.mark.parametrize(("error", "code"), ERRORS)
def test_errors(error, code):
    line = {"v": 1, "id": "i", "model": "m", "version": "1", "time_ns": 0, "error": error}
    assert report_code(decode_score(orjson.dumps(line))) == code


@pytest.mark.parametrize("refusal", ["behind", "expired", "not sampled"])
def test_refusals(refusal):
    line = {"v": 1, "id": "i", "model": "m", "version": "1", "time_ns": 0, "refusal": refusal}
    assert report_code(decode_score(orjson.dumps(line))) == refusal.replace(" ", "_")


def test_what_says_its_code_is_not_read_twice():
    """The sentence is ignored where there is a code."""
    line = {"v": 1, "id": "i", "reply_to": "p", "kind": "default", "result": 0, "schedule": "s"}
    said = {"waited_ms": 1.0, "reason": "overloaded", "code": "a_later_one"}
    assert result_code(decode_result(orjson.dumps(line | said))) == "a_later_one"
