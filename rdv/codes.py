"""Every code that rdv writes beside a sentence, and what it means.

Programs read codes, people read sentences: a code never changes its name or its meaning, and this
list only grows. `CODES.md` is made of it (`make codes`), with the errors of the command line, whose
codes are their classes' names (`RdvError.code`).
"""

from __future__ import annotations

from typing import Literal

ResultCode = Literal[
    "",
    "answers_not_combined",
    "champion_behind",
    "champion_down",
    "champion_expired",
    "champion_failed",
    "champion_late",
    "champion_not_asked",
    "champion_silent",
    "expired",
    "invalid_schedule",
    "no_answer_in_time",
    "no_model_left",
    "no_result_in_time",
    "not_logged",
    "only_one_model",
    "overloaded",
    "step_1_missed",
    "stopping",
    "unknown_schedule",
    "unspecified",
]
"""Of an answer (`code` beside `reason`): why it is not the preferred one."""

RESULT_CODES: dict[ResultCode, str] = {
    "": "It is the preferred answer.",
    "answers_not_combined": "The models' answers could not be combined; the best-ranked one is "
    "given as it is.",
    "champion_behind": "The champion had too much to do to answer in time, and said so.",
    "champion_down": "The champion was not running.",
    "champion_expired": "The request reached the champion after its deadline.",
    "champion_failed": "The champion reported an error.",
    "champion_late": "The champion had not answered when its turn ended.",
    "champion_not_asked": "The champion was not asked about this request (its share, a cohort, or "
    "the request's `models`).",
    "champion_silent": "`serve --direct`: the model had nothing to say about the request.",
    "expired": "The request reached the server after its deadline.",
    "invalid_schedule": "The request's own schedule could not be used.",
    "no_answer_in_time": "No model that the schedule accepts had answered by the end of its steps.",
    "no_model_left": "Every model that the schedule accepts is down, has refused or has failed.",
    "no_result_in_time": "No result reached the proxy by the SLA: it answered by itself.",
    "not_logged": "The request could not be written to the log, so that no model saw it.",
    "only_one_model": "`serve --direct`: only one model is asked, and it is not the champion.",
    "overloaded": "Too many requests were open already, at the server or at the proxy "
    "(`answered_by`).",
    "step_1_missed": "The first step did not get the answers that it needs; a later one did.",
    "stopping": "The proxy was stopping while the request was open.",
    "unknown_schedule": "The request asked for a schedule that does not exist.",
    "unspecified": "An answer of rdv 0.1.0 whose reason is not one that 0.1.0 gave.",
}

ReportCode = Literal[
    "",
    "behind",
    "expired",
    "invalid_answer",
    "invalid_data",
    "invalid_result",
    "not_sampled",
    "predict_raised",
    "process_ended",
    "timeout",
    "worker_ended",
]
"""Of a model's report (`code` beside `error` or `refusal` in the scores stream)."""

REPORT_CODES: dict[ReportCode, str] = {
    "": "It is a result.",
    "behind": "Refused: the model has too much to do to answer in time.",
    "expired": "Refused: the request's deadline had passed.",
    "invalid_answer": "The command wrote something that is not an answer to a question.",
    "invalid_data": "The request's data could not be read as JSON.",
    "invalid_result": "What the model returned is not a result: not JSON, NaN, too large, or not "
    "one for each row.",
    "not_sampled": "Refused: the request is not in this model's share.",
    "predict_raised": "The model raised an exception, or answered with an error.",
    "process_ended": "The command ended, or could not be started.",
    "timeout": "The model took longer than `predict_timeout_ms`.",
    "worker_ended": "The worker's process ended while it evaluated the request.",
}

HttpCode = Literal[
    "bad_header",
    "body_too_large",
    "content_coding_unknown",
    "draining",
    "expectation_failed",
    "foreign_origin",
    "headers_too_large",
    "inline_schedule_too_large",
    "inline_schedules_off",
    "inline_sla_too_long",
    "internal_error",
    "invalid_request",
    "invalid_schedule",
    "invalid_time",
    "length_required",
    "malformed_json",
    "malformed_request",
    "method_not_allowed",
    "method_unknown",
    "misdirected_request",
    "nested_too_deeply",
    "not_answered",
    "not_found",
    "not_logged",
    "number_out_of_range",
    "outcome_too_large",
    "request_timeout",
    "target_too_long",
    "too_many_connections",
    "too_many_headers",
    "too_many_outcomes",
    "too_many_requests",
    "transfer_encoding_unknown",
    "truncated_request",
    "unknown_model",
    "unknown_schedule",
    "unsupported_media_type",
    "version_not_supported",
]
"""Of an HTTP error: `{"error": {"code": …, "message": …}}`."""

HTTP_CODES: dict[HttpCode, tuple[int, str]] = {
    "bad_header": (400, "A header is missing, repeated, or has a value that is not allowed."),
    "body_too_large": (413, "The body is larger than `http.body_bytes_max`."),
    "content_coding_unknown": (415, "The body is encoded: send it without Content-Encoding."),
    "draining": (503, "The proxy is stopping: ask another one, or again in a moment."),
    "expectation_failed": (417, "Only `Expect: 100-continue` is known."),
    "foreign_origin": (403, "A web page that `http.origins` does not list may not call."),
    "headers_too_large": (431, "The head of the request is too large."),
    "inline_schedule_too_large": (422, "The schedule in the request is too large."),
    "inline_schedules_off": (422, "This decision takes no schedules in requests."),
    "inline_sla_too_long": (422, "The schedule in the request asks for too long an SLA."),
    "internal_error": (500, "The server failed; its log says why."),
    "invalid_request": (400, "The body is JSON, but not what this path takes."),
    "invalid_schedule": (422, "The request's own schedule cannot be used."),
    "invalid_time": (422, "The time of an outcome cannot be used."),
    "length_required": (411, "The request needs a Content-Length or chunked coding."),
    "malformed_json": (400, "The body is not JSON."),
    "malformed_request": (400, "What came is not an HTTP/1.1 request."),
    "method_not_allowed": (405, "The path does not take this method; `Allow` names those it does."),
    "method_unknown": (501, "The method is not one that is served here."),
    "misdirected_request": (421, "The Host is none of the server's names; see `http.hosts`."),
    "nested_too_deeply": (422, "Lists and objects in the body are nested too deeply."),
    "not_answered": (503, "The server did not answer in time."),
    "not_found": (404, "There is nothing at this path."),
    "not_logged": (503, "The outcomes could not be written to the log: send them again."),
    "number_out_of_range": (422, "A number in the body is not one that every reader can carry."),
    "outcome_too_large": (413, "An outcome is larger than a record of the log may be."),
    "request_timeout": (408, "The request did not arrive in time."),
    "target_too_long": (414, "The request's target is too long."),
    "too_many_connections": (503, "Too many connections are open."),
    "too_many_headers": (431, "The request has too many headers."),
    "too_many_outcomes": (413, "Too many outcomes in one request: send them in parts."),
    "too_many_requests": (429, "Too many requests are in flight: ask again after `Retry-After`."),
    "transfer_encoding_unknown": (501, "Only the chunked transfer coding is known."),
    "truncated_request": (400, "The connection ended inside of the request."),
    "unknown_model": (422, "The request names a model that does not exist."),
    "unknown_schedule": (422, "The request names a schedule that does not exist."),
    "unsupported_media_type": (415, "The body's media type is not one that is taken here."),
    "version_not_supported": (505, "Only HTTP/1.1 and HTTP/1.0 are spoken here."),
}
