"""Read chunks as messages, exactly those that a server would have accepted."""

from __future__ import annotations

import msgspec

from rdv.evaluation.reading.chunk import Chunk, decode_chunk
from rdv.messages import (
    Request,
    Result,
    Score,
    decode_request,
    decode_result,
    decode_score,
    validate_score,
)

_request_lines = msgspec.json.Decoder(Request).decode_lines
_score_lines = msgspec.json.Decoder(Score).decode_lines
_result_lines = msgspec.json.Decoder(Result).decode_lines


def read_requests(chunk: Chunk) -> list[Request | None]:
    """Return a request for each record; None for a record that is not one."""
    return decode_chunk(chunk, _request_lines, decode_request)


def read_results(chunk: Chunk) -> list[Result | None]:
    """Return a result for each record; None for a record that is not one."""
    return decode_chunk(chunk, _result_lines, decode_result)


def read_scores(chunk: Chunk) -> list[Score | None]:
    """Return a score for each record; None for a record that is not one, or names another model."""
    scores = decode_chunk(chunk, _score_lines, decode_score)
    topic = chunk.topic
    for row, score in enumerate(scores):
        if score is not None and (
            score.model != topic
            or (
                (score.error is not None or score.refusal or score.result is msgspec.UNSET)
                and validate_score(score)
            )
        ):
            scores[row] = None
    return scores
