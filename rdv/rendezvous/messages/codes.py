"""These functions find the code of a result or report, even of rdv 0.1.0, which wrote none. Pure.

Version 0.1.0 wrote sentences only. This is the only place that reads them, and only where there is
no code; nothing that is written today depends on a sentence.
"""

from __future__ import annotations

import re

from rdv.codes import ReportCode, ResultCode
from rdv.rendezvous.messages.result import Result
from rdv.rendezvous.messages.score import REFUSAL_CODES, Score

_RESULTS_OF_0_1_0: tuple[tuple[str, ResultCode], ...] = (
    ("expired on arrival$", "expired"),
    ("overloaded(:|$)", "overloaded"),
    ("unknown schedule ", "unknown_schedule"),
    ("invalid ", "invalid_schedule"),
    ("no answer that would do by ", "no_answer_in_time"),
    ("nobody is left to wait for(:|$)", "no_model_left"),
    ("no result came by the SLA$", "no_result_in_time"),
    ("not logged: ", "not_logged"),
    ("the proxy is stopping$", "stopping"),
    ("the answers cannot be combined by ", "answers_not_combined"),
    ("step 1 did not get what it needs$", "step_1_missed"),
    ("direct: only .* is asked$", "only_one_model"),
    (".+ is down$", "champion_down"),
    (".+ has not answered$", "champion_late"),
    (".+ has answered$", "step_1_missed"),
    (".+ has (nothing to say|given no answer)$", "champion_silent"),
    (r"\S+ behind( \(|$)", "champion_behind"),
    (r"\S+ expired( \(|$)", "champion_expired"),
    (r"\S+ not sampled( \(|$)", "champion_not_asked"),
    (r"\S+ error( \(|$)", "champion_failed"),
    (r"\S+ failed: ", "champion_failed"),
)
"""The beginnings of its reasons; fixed texts first, because a model may have any name."""

_ERRORS_OF_0_1_0: tuple[tuple[str, ReportCode], ...] = (
    ("the worker ended in this batch", "worker_ended"),
    ("the model hung and was ended$", "timeout"),
    (r"no answer within \d+ ms$", "timeout"),
    ("the data is not JSON: ", "invalid_data"),
    (r"predict returned .*(one result for each row|results for \d+ rows?)$", "invalid_result"),
    ("the model's result", "invalid_result"),
    ("the command has failed: ", "process_ended"),
    ("it (ended with exit code|was ended by|closed its stdout)", "process_ended"),
    (r"(it wrote |it answered \d|its answer to \d)", "invalid_answer"),
)


def result_code(result: Result) -> str:
    """Return why it is not the preferred answer: one of `rdv.codes.RESULT_CODES`. Thread-safe."""
    if result.code or result.kind == "preferred":
        return result.code
    if not result.reason:
        return "step_1_missed" if result.kind == "fallback" else "unspecified"
    return _found(_RESULTS_OF_0_1_0, result.reason, "unspecified")


def report_code(score: Score) -> str:
    """Return why it is not a result: one of `rdv.codes.REPORT_CODES`. Thread-safe."""
    if score.code:
        return score.code
    if score.refusal is not None:
        return REFUSAL_CODES[score.refusal]
    if score.error is None:
        return ""
    return _found(_ERRORS_OF_0_1_0, score.error, "predict_raised")


def _found(table: tuple[tuple[str, str], ...], text: str, other: str) -> str:
    return next((code for begin, code in table if re.match(begin, text, re.DOTALL)), other)
