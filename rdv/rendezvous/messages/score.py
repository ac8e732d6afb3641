"""A score is what one model reports about one request: a result, a refusal, or an error."""

from __future__ import annotations

from typing import Literal

import msgspec
from msgspec import UNSET, UnsetType

from rdv.codes import ReportCode
from rdv.native import NATIVE
from rdv.rendezvous.messages.codec import (
    SCHEMA_VERSION,
    Id,
    MalformedMessage,
    Name,
    TimeNs,
    decode_line,
    encode_line,
)

Refusal = Literal["behind", "expired", "not sampled", "bad input", "unavailable"]
"""behind: cannot make the deadline; expired: it had passed; not sampled: not in its share; bad
input: the data is invalid; unavailable: the model's server does not answer, and is not asked for a
while.
"""

REFUSAL_CODES: dict[Refusal, ReportCode] = {
    "behind": "behind",
    "expired": "expired",
    "not sampled": "not_sampled",
    "bad input": "bad_input",
    "unavailable": "unavailable",
}

Outcome = Literal["result", "behind", "expired", "not sampled", "error", "bad input", "unavailable"]


_encode = msgspec.json.Encoder().encode

_UNSET_COUNT = 2


class Score(
    msgspec.Struct, frozen=True, omit_defaults=True, gc=False, tag_field="v", tag=SCHEMA_VERSION
):
    """A `Score` is one model's report. Exactly one of `result`, `refusal` and `error` is set.

    The constructor does not check that; reading and writing a line does (`validate_score`).
    """

    id: Id
    """The id of the request."""

    model: Name
    version: str
    time_ns: TimeNs
    """Wall time of the worker in nanoseconds when it had finished; for people and look-ups only."""

    queue_ms: float = 0.0
    """Milliseconds from the append of the request to the start of its evaluation."""

    evaluation_ms: float = 0.0
    """How long the evaluation of the whole batch took, in milliseconds."""

    batch_size: int = 1
    """How many requests were evaluated together, including this one."""

    result: msgspec.Raw | UnsetType = UNSET
    """The JSON as the model gave it; see `encode_model_result`."""

    refusal: Refusal | None = None
    """Why the model did not evaluate the request; the server does not wait for it."""

    error: str | None = None
    """What went wrong: an exception, NaN, an exit."""

    detail: str = ""
    """More about a refusal, such as how far behind the model is."""

    code: str = ""
    """Why there is no result, for programs: one of `rdv.codes.REPORT_CODES`; `report_code` finds it
    for scores that rdv 0.1.0 has written, too."""


_DECODER = msgspec.json.Decoder(Score)


def score_outcome(score: Score) -> Outcome:
    """Return what kind of report it is, in one word (or two)."""
    return score.refusal or ("result" if score.error is None else "error")


def validate_score(score: Score) -> str:
    """Return what is wrong with the score, or an empty string."""
    result, refusal, error = score.result, score.refusal, score.error
    if (result is UNSET) + (refusal is None) + (error is None) == _UNSET_COUNT:
        return ""
    values = {"result": result, "refusal": refusal, "error": error}
    found = [name for name, value in values.items() if value is not None and value is not UNSET]
    return f"has {' and '.join(found) or 'none'} of result, refusal, error: one is needed"


def encode_score(score: Score) -> bytes:
    """Encode the score as one line. Thread-safe.

    Raises ValueError unless it has exactly one outcome.
    """
    if fault := validate_score(score):
        raise ValueError(f"a score {fault}")
    return encode_line(score)


class ResultLines:
    """A `ResultLines` writes the score lines of one batch's results; common parts are written once.

    It is quicker than a Score for each; the lines have the same content (a property test).
    Thread-safe.
    """

    def __init__(
        self, model: str, version: str, time_ns: int, evaluation_ms: float, batch_size: int
    ) -> None:
        self._same = b',"model":%b,"version":%b,"time_ns":%d,"evaluation_ms":%b' % (
            _encode(model),
            _encode(version),
            time_ns,
            _encode(evaluation_ms),
        )
        if batch_size != 1:
            self._same += b',"batch_size":%d' % batch_size

    def after(self, queue_ms: float) -> bytes:
        """Return the middle of all lines whose requests waited `queue_ms` for their evaluation."""
        return b'%b,"queue_ms":%b,"result":' % (self._same, _encode(queue_ms))

    @staticmethod
    def lines(ids: list[str], middles: list[bytes], results: list[bytes]) -> list[bytes]:
        """Return a line for each id; results are JSON without line breaks, middles from `after`."""
        if NATIVE is not None:
            lines = NATIVE.score_lines(ids, middles, results)
            if lines is not None:
                return lines
        return [
            b'{"v":1,"id":%b%b%b}\n' % (_encode(id_), middle, result)
            for id_, middle, result in zip(ids, middles, results, strict=True)
        ]


def decode_score(line: bytes) -> Score:
    """Read one line. Thread-safe. Raises MalformedMessage."""
    score = decode_line(_DECODER, "score", line)
    if fault := validate_score(score):
        raise MalformedMessage("score", fault, bytes(line))
    return score
