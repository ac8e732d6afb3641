"""The messages in the streams are requests, scores, results and outcomes: JSON, one per line.

    request  what a proxy asks of every model              → input
    score    what one model reports about one request      → scores
    result   the client's answer, its model and the reason → results
    truth    what turned out to be true of a request       → outcomes

A line can be read as it is with `jq`, `grep` and pyarrow. Every message carries its schema version
in `v`; fields that have their default are left out; unknown fields are ignored, so that an older
reader can read a newer writer's messages of the same version.

`data` and `result` are JSON that is never parsed on its way (`msgspec.Raw`): all models see exactly
the received bytes, except that each line break between tokens is a space.
"""

from __future__ import annotations

from rdv.rendezvous.messages.codec import (
    InvalidModelResult,
    MalformedMessage,
    RequestIds,
    make_request_id,
    one_line,
)
from rdv.rendezvous.messages.codes import report_code, result_code
from rdv.rendezvous.messages.model_result import (
    RESULT_BYTES_MAX,
    check_result_json,
    encode_model_result,
)
from rdv.rendezvous.messages.outcome import (
    ReportedOutcome,
    Truth,
    decode_truth,
    encode_truth,
    with_source,
)
from rdv.rendezvous.messages.request import Idempotency, Request, decode_request, encode_request
from rdv.rendezvous.messages.result import (
    AnsweredBy,
    Arrival,
    Kind,
    Result,
    decode_result,
    encode_result,
)
from rdv.rendezvous.messages.score import (
    REFUSAL_CODES,
    Outcome,
    Refusal,
    ResultLines,
    Score,
    decode_score,
    encode_score,
    score_outcome,
    validate_score,
)

__all__ = [
    "REFUSAL_CODES", "RESULT_BYTES_MAX", "AnsweredBy", "Arrival", "Idempotency",
    "InvalidModelResult", "Kind", "MalformedMessage", "Outcome", "Refusal", "ReportedOutcome",
    "Request", "RequestIds", "Result", "ResultLines", "Score", "Truth", "check_result_json",
    "decode_request", "decode_result", "decode_score", "decode_truth", "encode_model_result",
    "encode_request", "encode_result", "encode_score", "encode_truth", "make_request_id",
    "one_line", "report_code", "result_code", "score_outcome", "validate_score", "with_source",
]  # fmt: skip
