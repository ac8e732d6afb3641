"""The module lists every code that rdv writes beside a sentence, and its meaning.

Programs read codes, people read sentences: a code never changes its name or its meaning, and this
list only grows. `CODES.md` is generated from it (`make codes`), with the errors of the command
line, whose codes are their classes' names (`RdvError.code`).

A sentence in JSON has its code beside it: `reason` has `code`, any other `x` has `x_code`, and a
list of sentences `x` has the list `x_codes` of the same length. `rdv.coded` has the form in logs.
"""

from __future__ import annotations

from typing import Literal

ResultCode = Literal[
    "",
    "answers_not_combined",
    "bad_input",
    "champion_bad_input",
    "champion_behind",
    "champion_down",
    "champion_expired",
    "champion_failed",
    "champion_late",
    "champion_not_asked",
    "champion_silent",
    "champion_unavailable",
    "expired",
    "invalid_schedule",
    "no_answer_in_time",
    "no_model_left",
    "no_result_in_time",
    "not_logged",
    "only_one_model",
    "overloaded",
    "record_too_large",
    "step_1_missed",
    "stopping",
    "unknown_schedule",
    "unspecified",
]
"""The codes of an answer (`code` beside `reason`): why it is not the preferred one."""

RESULT_CODES: dict[ResultCode, str] = {
    "": "It is the preferred answer.",
    "answers_not_combined": "The models' answers could not be combined; the best-ranked one is "
    "given as it is.",
    "bad_input": "The data is invalid: it does not fit [schema], or a model says so that the "
    "schedule lists under `input_judges`.",
    "champion_bad_input": "The champion said that the data is invalid.",
    "champion_behind": "The champion had too much to do to answer in time, and said so.",
    "champion_down": "The champion was not running.",
    "champion_expired": "The request reached the champion after its deadline.",
    "champion_failed": "The champion reported an error.",
    "champion_late": "The champion had not answered when its turn ended.",
    "champion_not_asked": "The champion was not asked about this request (its share, a cohort, or "
    "the request's `models`).",
    "champion_silent": "`serve --direct`: the model had nothing to say about the request.",
    "champion_unavailable": "The server behind the champion did not answer lately, and was not "
    "asked.",
    "expired": "The request reached the server after its deadline.",
    "invalid_schedule": "The request's own schedule could not be used.",
    "no_answer_in_time": "No model that the schedule accepts had answered by the end of its steps.",
    "no_model_left": "Every model that the schedule accepts is down, has refused or has failed.",
    "no_result_in_time": "No result reached the proxy by the SLA: it answered by itself.",
    "not_logged": "The request could not be written to the log, so that no model saw it.",
    "only_one_model": "`serve --direct`: only one model is asked, and it is not the champion.",
    "overloaded": "Too many requests were open already, at the server or at the proxy "
    "(`answered_by`).",
    "record_too_large": "The request, with what an enricher has added, or its answer is larger "
    "than a record of the log may be (`reason` says which).",
    "step_1_missed": "The first step did not get the answers that it needs; a later one did. "
    "Where the request names its models, the first step that accepts one of them counts.",
    "stopping": "The proxy was stopping while the request was open.",
    "unknown_schedule": "The request asked for a schedule that does not exist.",
    "unspecified": "An answer of rdv 0.1.0 whose reason is not one that 0.1.0 gave.",
}

ReportCode = Literal[
    "",
    "bad_input",
    "behind",
    "expired",
    "invalid_answer",
    "invalid_data",
    "invalid_result",
    "not_sampled",
    "out_of_memory",
    "predict_raised",
    "process_ended",
    "timeout",
    "unavailable",
    "worker_ended",
]
"""The codes of a model's report (`code` beside `error` or `refusal` in the scores stream)."""

REPORT_CODES: dict[ReportCode, str] = {
    "": "It is a result.",
    "bad_input": "Refused: the model says that the data is invalid (`detail` says why).",
    "behind": "Refused: the model has too much to do to answer in time.",
    "expired": "Refused: the request's deadline had passed.",
    "invalid_answer": "The command wrote something that is not an answer to a question.",
    "invalid_data": "The request's data could not be read as JSON.",
    "invalid_result": "What the model returned is not a result: not JSON, NaN, too large, or not "
    "one for each row.",
    "not_sampled": "Refused: the request is not in this model's share.",
    "out_of_memory": "The model had no memory left, or no more than `memory_max` allows.",
    "predict_raised": "The model raised an exception, or answered with an error.",
    "process_ended": "The command ended, or could not be started.",
    "timeout": "The model took longer than `predict_timeout_ms`, or the server behind it than the "
    "request had time.",
    "unavailable": "Refused: the server behind the model did not answer lately, and is not asked "
    "for a while.",
    "worker_ended": "The worker's process ended while it evaluated the request.",
}

HttpCode = Literal[
    "answer_not_kept",
    "bad_header",
    "bad_input",
    "body_too_large",
    "content_coding_unknown",
    "draining",
    "expectation_failed",
    "extension_not_served",
    "foreign_origin",
    "headers_too_large",
    "idempotency_key_reused",
    "inline_schedule_too_large",
    "inline_schedules_off",
    "inline_sla_too_long",
    "internal_error",
    "invalid_idempotency_key",
    "invalid_request",
    "invalid_request_id",
    "invalid_schedule",
    "invalid_time",
    "length_required",
    "malformed_json",
    "malformed_request",
    "method_not_allowed",
    "method_unknown",
    "misdirected_request",
    "nested_too_deeply",
    "no_model",
    "not_answered",
    "not_found",
    "not_logged",
    "number_out_of_range",
    "outcome_too_large",
    "request_timeout",
    "target_too_long",
    "too_many_bytes",
    "too_many_connections",
    "too_many_headers",
    "too_many_idempotency_keys",
    "too_many_outcomes",
    "too_many_requests",
    "too_many_rows",
    "transfer_encoding_unknown",
    "truncated_request",
    "unknown_model",
    "unknown_schedule",
    "unsupported_media_type",
    "version_not_supported",
    "webhook_not_signed",
]
"""The codes of an HTTP error: `{"error": {"code": …, "message": …}}`."""

HTTP_CODES: dict[HttpCode, tuple[int, str]] = {
    "answer_not_kept": (503, "The request was answered; there was no room to keep the answer."),
    "bad_header": (400, "A header is missing, repeated, or has a value that is not allowed."),
    "bad_input": (422, "The data does not fit [schema]; `faults` has each path and its reason."),
    "body_too_large": (413, "The body is larger than `http.body_bytes_max`."),
    "content_coding_unknown": (
        415,
        "The body has a Content-Encoding that is neither gzip nor deflate.",
    ),
    "draining": (503, "The proxy is stopping: ask another one, or again in a moment."),
    "expectation_failed": (417, "Only `Expect: 100-continue` is known."),
    "extension_not_served": (501, "This extension of the Open Inference Protocol is not served."),
    "foreign_origin": (403, "A web page that `http.origins` does not list may not call."),
    "headers_too_large": (431, "The head of the request is too large."),
    "idempotency_key_reused": (422, "The `Idempotency-Key` was used with another body."),
    "inline_schedule_too_large": (422, "The schedule in the request is too large."),
    "inline_schedules_off": (422, "This decision takes no schedules in requests."),
    "inline_sla_too_long": (422, "The schedule in the request asks for too long an SLA."),
    "internal_error": (500, "The server failed; its log says why."),
    "invalid_idempotency_key": (
        400,
        "The `Idempotency-Key` is not a string of 1-255 characters.",
    ),
    "invalid_request_id": (400, "The `X-Request-Id` is not 1 to 128 visible ASCII characters."),
    "invalid_request": (400, "The body is JSON, but not what this path takes."),
    "invalid_schedule": (422, "The request's own schedule cannot be used."),
    "invalid_time": (422, "The time of an outcome cannot be used."),
    "length_required": (411, "The request needs a Content-Length or chunked coding."),
    "malformed_json": (400, "The body is not JSON."),
    "malformed_request": (
        400,
        "What came is no HTTP/1.1 request, no message of gRPC, or a broken compressed body.",
    ),
    "method_not_allowed": (405, "The path does not take this method; `Allow` names those it does."),
    "method_unknown": (501, "The method is not one that is served here."),
    "misdirected_request": (421, "The Host is none of the server's names; see `http.hosts`."),
    "nested_too_deeply": (422, "Lists and objects in the body are nested too deeply."),
    "no_model": (503, "`/readyz`: no model is up that the live schedule wants."),
    "not_answered": (503, "The server did not answer in time."),
    "not_found": (404, "There is nothing at this path."),
    "not_logged": (503, "The outcomes could not be written to the log: send them again."),
    "number_out_of_range": (422, "A number in the body is not one that every reader can carry."),
    "outcome_too_large": (413, "An outcome is larger than a record of the log may be."),
    "request_timeout": (408, "The request did not arrive in time."),
    "target_too_long": (414, "The request's target is too long."),
    "too_many_bytes": (503, "Too many bytes of incomplete requests wait for their rest."),
    "too_many_connections": (503, "Too many connections are open, or too many of this client."),
    "too_many_idempotency_keys": (429, "This client has no room for more `Idempotency-Key`s now."),
    "too_many_headers": (431, "The request has too many headers."),
    "too_many_outcomes": (413, "Too many outcomes in one request: send them in parts."),
    "too_many_requests": (429, "Too many requests are in flight: ask again after `Retry-After`."),
    "too_many_rows": (413, "The request has more rows than `http.rows_max`."),
    "transfer_encoding_unknown": (501, "Only the chunked transfer coding is known."),
    "truncated_request": (400, "The connection ended inside of the request."),
    "unknown_model": (422, "The request names a model that does not exist."),
    "unknown_schedule": (422, "The request names a schedule that does not exist."),
    "unsupported_media_type": (415, "The body's media type is not one that is taken here."),
    "version_not_supported": (505, "Only HTTP/1.1 and HTTP/1.0 are spoken here."),
    "webhook_not_signed": (401, "A webhook is not signed with `MLFLOW_WEBHOOK_SECRET`."),
}

EventCode = Literal[
    "asleep",
    "board_rewritten",
    "clock_behind",
    "connections_cut",
    "console_failed",
    "damage_kept",
    "download_damaged",
    "edits_late",
    "enricher_failed",
    "enricher_loading",
    "enricher_slow",
    "files_restored",
    "index_cut_off",
    "instances_limited",
    "kind_unusable",
    "limits_without_groups",
    "misplaced_renamed",
    "mlflow_not_followed",
    "mode_changed",
    "mode_restored",
    "model_failing",
    "model_hangs",
    "model_out_of_memory",
    "model_reads_file",
    "model_unavailable",
    "model_undeclared",
    "model_version_changed",
    "model_writes_file",
    "not_committed",
    "not_ready_yet",
    "not_recorded",
    "not_recorded_yet",
    "not_restored",
    "not_wanted",
    "notify_failed",
    "part_ended",
    "partition_locked",
    "promotion_asked",
    "promotion_failed",
    "promotion_judged",
    "records_appended_again",
    "records_cut_off",
    "results_lost",
    "retired_key",
    "schedule_in_use",
    "scores_lost",
    "settings_rewritten",
    "status_not_written",
    "stream_replaced",
    "successor_not_ready",
    "traces_dropped",
    "traces_not_exported",
    "values_set_aside",
]
"""The codes of trouble in logs, in `rdv status`, and in the topics of `control`. Trouble that comes
from an error has the error's code, and that of a model's command a report's.
"""

EVENT_CODES: dict[EventCode, str] = {
    "asleep": "The model has no instance, because no request asks for it.",
    "board_rewritten": "A stream's page of wake-ups was damaged or of another version, "
    "and has been made anew.",
    "clock_behind": "The last record is dated ahead of this process's clock: a new segment begins.",
    "connections_cut": "Connections were still open when the proxy had to end.",
    "console_failed": "The console could not count what is new, or compute a view: a bug.",
    "damage_kept": "There is damage in records that had been synced: nothing is cut off.",
    "download_damaged": "A model that was downloaded from a registry is not as it was downloaded.",
    "edits_late": "The system cannot watch the files: edits are noticed within a second only.",
    "enricher_failed": "The enricher raised, or its answer cannot be used: the request "
    "went on unchanged.",
    "enricher_loading": "The enricher is still being loaded: requests go on unchanged.",
    "enricher_slow": "`http.enrich_timeout_ms` leaves no time for any model within the SLA.",
    "files_restored": "Files that were deleted while a writer had them open have been put back.",
    "index_cut_off": "The index ends before an offset that it had reached.",
    "instances_limited": "A model has more instances than there are partitions to share.",
    "kind_unusable": "Another package's kind of model cannot be imported; the others can be used.",
    "limits_without_groups": "No cgroup can be made: a model's `cpu_max` is only a lower priority.",
    "misplaced_renamed": "Something that is no file of rdv lay in the place of one, and "
    "has been renamed.",
    "mlflow_not_followed": "An alias cannot be followed now: its model goes on as it is.",
    "mode_changed": "The files of a stream get another mode, as `log.mode` says.",
    "mode_restored": "A file could not be read by its owner: its mode has been set again.",
    "model_failing": "At least half of the model's latest rows have failed.",
    "model_out_of_memory": "A model needs more memory than `memory_max`; it is started again.",
    "model_hangs": "A call of the model takes longer than `predict_timeout_ms`.",
    "model_reads_file": "A model reads a file after it was loaded: it is no part of its version "
    "unless `artifacts` names it.",
    "model_unavailable": "The server behind a model has failed too often, and is not asked for a "
    "while.",
    "model_undeclared": "A schedule names a model that is not started.",
    "model_version_changed": "A model runs in another version than before: its files, or the "
    "version that it declares, have changed.",
    "model_writes_file": "A model has written a file that it was loaded from: it is "
    "its state, and no part of its version unless `artifacts` names it.",
    "not_committed": "The position of a model's group cannot be committed now.",
    "not_ready_yet": "The model is being started.",
    "not_recorded": "Records could not be written to the log, and are given up.",
    "not_recorded_yet": "Records cannot be written to the log now; they are kept, and tried again.",
    "not_restored": "There are more `Idempotency-Key`s in the log than are read at a start.",
    "not_wanted": "The model is not wanted any more: it was removed, retired or replaced.",
    "notify_failed": "An event could not be posted to a webhook: it is sent again, or given up.",
    "part_ended": "A process of the decision has ended unasked; it is started again.",
    "partition_locked": "A partition is not read yet: another process holds its lock.",
    "promotion_asked": "An alias names another version: it runs beside the champion, and asks for"
    " a promotion.",
    "promotion_failed": "The gate could not be asked about a version of a registry.",
    "promotion_judged": "The gate of `rdv promote` has judged a version of a registry.",
    "records_appended_again": "A stream's files were replaced under a writer: its records "
    "are appended anew.",
    "records_cut_off": "Records that had not been synced were cut off after an unclean shutdown.",
    "results_lost": "Results of the server could not be written to the log.",
    "retired_key": "A key of rdv.toml, or a variable, has no effect any more.",
    "schedule_in_use": "The file of a schedule is gone, but the schedule is in use: it "
    "stays in force.",
    "scores_lost": "Reports of a model could not be written to the log.",
    "settings_rewritten": "The file of a stream's settings was missing, and has been written anew.",
    "status_not_written": "A process could not write its status.",
    "stream_replaced": "The directory of a stream was deleted or replaced while it was served: "
    "all processes are started again.",
    "successor_not_ready": "The new version of a process does not start: the one before "
    "it goes on.",
    "traces_dropped": "Spans could not be sent in time, or a collector has refused them.",
    "traces_not_exported": "A collector does not take spans now: they are sent later.",
    "values_set_aside": "Values without an index, of an unclean shutdown, have been set aside.",
}

EventKind = Literal[
    "serve_started",
    "serve_stopped",
    "process_ended",
    "process_back",
    "model_added",
    "model_removed",
    "model_paused",
    "model_resumed",
    "model_not_loaded",
    "model_version_changed",
    "schedule_changed",
    "schedule_refused",
    "settings_changed",
    "settings_refused",
    "settings_waiting",
    "file_edited",
    "promoted",
    "rolled_back",
    "ramp_changed",
    "scaled",
    "breaker_opened",
    "breaker_closed",
    "registry",
    "disk_full",
    "disk_free",
    "trouble",
    "trouble_over",
]
"""The kinds of events: `kind` in the topics `events` and `commands` of `control`. An event that is
no trouble has its kind as its code as well.
"""

EVENT_KINDS: dict[EventKind, str] = {
    "serve_started": "`rdv serve` has started.",
    "serve_stopped": "`rdv serve` has stopped in order.",
    "process_ended": "A process ended unasked: `exit_code`, `signal` and `last_line` say why.",
    "process_back": "A process that had ended is ready again.",
    "model_added": "A model was added to rdv.toml, and is started.",
    "model_removed": "A model was removed from rdv.toml, and is stopped.",
    "model_paused": "A model was retired (`retired = true`), and is stopped.",
    "model_resumed": "A model is not retired any more, and is started.",
    "model_not_loaded": "A model's process could not load its model.",
    "model_version_changed": "A model runs in another version than before.",
    "schedule_changed": "Another schedule, or another version of one, is in force.",
    "schedule_refused": "The file of a schedule cannot be used; its last version stays in force.",
    "settings_changed": "Edited keys of rdv.toml are in force.",
    "settings_refused": "An edit of rdv.toml, or of a file that it names, cannot be used.",
    "settings_waiting": "Edited keys of rdv.toml take effect at the next `rdv serve`.",
    "file_edited": "A command has edited rdv.toml or a schedule.",
    "promoted": "`rdv promote` has put a model in the champion's place.",
    "rolled_back": "`rdv promote` has taken a promotion back.",
    "ramp_changed": "A promotion in stages has reached another stage, or has ended.",
    "scaled": "A model gets another number of instances.",
    "breaker_opened": "The server behind a model has failed too often, and is not asked now.",
    "breaker_closed": "The server behind a model answers again.",
    "registry": "A registry's alias names another version, or the gate has judged one.",
    "disk_full": "The disk is full: records cannot be written.",
    "disk_free": "Records can be written again.",
    "trouble": "Other trouble: the code says which.",
    "trouble_over": "The trouble of a process is over.",
}

DamageCode = Literal[
    "directory_misplaced",
    "entries_behind_seal",
    "index_cut_off",
    "index_entry_damaged",
    "index_entry_misplaced",
    "index_entry_missing",
    "index_missing",
    "index_out_of_order",
    "not_a_file",
    "partition_missing",
    "seal_damaged",
    "segment_misplaced",
    "segment_missing",
    "time_out_of_order",
    "value_damaged",
    "value_unconfirmed",
    "values_cut_off",
    "values_missing",
]
"""The codes of damage: `code` in `rdv stream verify --json`, `kind()` of RecordsDamaged."""

DAMAGE_CODES: dict[DamageCode, str] = {
    "directory_misplaced": "The directory of a partition or topic was renamed, or belongs "
    "elsewhere.",
    "entries_behind_seal": "There are entries behind the one that seals a segment; no "
    "record is affected.",
    "index_cut_off": "The index ends before an offset that it had reached.",
    "index_entry_damaged": "An index entry fails its check.",
    "index_entry_misplaced": "An index entry belongs to another offset or segment.",
    "index_entry_missing": "An index entry was cut off, or never written out.",
    "index_missing": "The index is missing: nothing says where its values begin and end.",
    "index_out_of_order": "An index entry does not follow from the one before it.",
    "not_a_file": "Something that is no file is in the place of one.",
    "partition_missing": "The directory of a partition is missing.",
    "seal_damaged": "The entry that seals a segment is damaged; no record is affected.",
    "segment_misplaced": "A file is that of another segment, partition or topic.",
    "segment_missing": "A segment is missing.",
    "time_out_of_order": "The times of the index run backwards.",
    "value_damaged": "A value fails its CRC.",
    "value_unconfirmed": "A value cannot be confirmed, because the index entry before it "
    "is damaged.",
    "values_cut_off": "The values end before the index does.",
    "values_missing": "The file of the values is missing.",
}


VerifyCode = Literal[
    "decision_differs",
    "request_unanswered",
    "result_not_recorded",
    "result_without_request",
    "schedule_not_recorded",
    "score_not_recorded",
]
"""The codes of findings of `rdv verify`: keys of `findings` and `unchecked_codes`."""

VERIFY_CODES: dict[VerifyCode, str] = {
    "decision_differs": "A decision that the engine would not have made, or a second result.",
    "request_unanswered": "A request without a result, for which a client waited.",
    "result_not_recorded": "Not checked: results of that time are gone by retention.",
    "result_without_request": "A result whose request should be recorded, and is not.",
    "schedule_not_recorded": "Not checked: the schedule is not recorded.",
    "score_not_recorded": "Not checked: a score is not recorded.",
}


DrillCode = Literal[
    "answered_twice",
    "client_starved",
    "edit_not_live",
    "not_answered_in_time",
    "not_marked",
    "not_recovered",
    "recorded_differently",
    "records_lost",
]
"""The codes of broken promises: `broken_codes` of `rdv drill --json`."""

DRILL_CODES: dict[DrillCode, str] = {
    "answered_twice": "A request had more than one answer.",
    "client_starved": "Requests of other clients were refused because of a greedy one.",
    "edit_not_live": "An edit of the live schedule did not take effect.",
    "not_answered_in_time": "An accepted request was not answered by its SLA.",
    "not_marked": "A default or fallback was not marked as such.",
    "not_recovered": "A part did not recover by itself.",
    "recorded_differently": "The log does not agree with what clients saw.",
    "records_lost": "An acknowledged record is lost, or damage is not named.",
}


LintCode = Literal[
    "beyond-sla",
    "caused-without-exploration",
    "default-missing",
    "gives-up-early",
    "last-step-needs-several",
    "maturity-beyond-retention",
    "maturity-near-retention",
    "model-retired",
    "model-unknown",
    "need-too-large",
    "no-fallback",
    "step-redundant",
    "step-unreachable",
    "until-not-increasing",
    "wildcard-first",
]
"""The codes of the linter: `code` of `rdv schedule check --json`."""

LINT_CODES: dict[LintCode, str] = {
    "beyond-sla": "A step waits beyond the SLA.",
    "caused-without-exploration": "The answer causes the outcome, and no cohort explores.",
    "default-missing": "There is no default.",
    "gives-up-early": "The last step ends before the SLA.",
    "last-step-needs-several": "The last step needs several answers.",
    "maturity-beyond-retention": "Requests are deleted before their outcomes count by age.",
    "maturity-near-retention": "Requests are deleted soon after their outcomes count by age.",
    "model-retired": "A step names a model that is retired.",
    "model-unknown": "A step names a model that does not exist.",
    "need-too-large": "A step needs more answers than it accepts models.",
    "no-fallback": "Only one model is accepted.",
    "step-redundant": "A step accepts no model that the step before it does not.",
    "step-unreachable": "A step begins at or after the SLA.",
    "until-not-increasing": "A step does not end after the one before it.",
    "wildcard-first": "`*` stands before a named model.",
}
