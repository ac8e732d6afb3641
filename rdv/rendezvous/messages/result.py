"""A result is the client's answer, with its model and the reason."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Literal

import msgspec

from rdv.rendezvous.messages.codec import SCHEMA_VERSION, Id, Name, decode_line, encode_line
from rdv.rendezvous.messages.score import Outcome

Kind = Literal["preferred", "fallback", "default"]
"""preferred: the schedule's first choice; fallback: another model's; default: the constant."""

AnsweredBy = Literal["server", "proxy"]


class Arrival(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """An `Arrival` is a report in the mailbox at the decision: `["gbm", 12.3, "result"]`."""

    model: str
    arrived_ms: float
    """Milliseconds from the start of the request, floored to whole microseconds. A negative one is
    before the start: of such reports the best rank wins, so a replay must tell them from those that
    came at once."""

    outcome: Outcome


class Result(
    msgspec.Struct, frozen=True, omit_defaults=True, gc=False, tag_field="v", tag=SCHEMA_VERSION
):
    """A `Result` is one decision. The engine makes it by position: keep the order of fields."""

    id: Id
    """The id of the request."""

    reply_to: Name
    """The return address of the request: the results topic that this goes to."""

    kind: Kind
    result: msgspec.Raw
    """The chosen model's JSON byte for byte, or the schedule's default."""

    schedule: str
    """Name and content hash: `production@1f2e3d4c5b6a`. Inline schedules are named `inline`."""

    waited_ms: float
    """Milliseconds from the start of the request to the decision, on one host's monotonic clock.

    `waited_ms` of the answer that the client gets is longer: until the proxy answers.
    """

    model: str | None = None
    """The model that answered; several joined by "+" when the schedule combined them; None: the
    default."""

    version: str | None = None
    reason: str = ""
    """Why it is not the preferred answer, for people."""

    code: str = ""
    """The same for programs, one of `rdv.codes.RESULT_CODES`; `result_code` finds it for results
    that rdv 0.1.0 has written, too."""

    step: int = 0
    """The step of the schedule that decided, counted from 1; 0: no step did."""

    arrived: list[Arrival] = []
    """The reports that had arrived by then, in order of arrival."""

    cohort: str | None = None
    answered_by: AnsweredBy = "server"
    """"proxy": the proxy's backstop answered, because no result had come by the SLA."""

    propensity: float | None = None
    """The probability of the schedule, where it was drawn: that of the request."""


encode_result: Callable[[Result], bytes] = encode_line
"""Encode it as one line. Thread-safe."""

decode_result: Callable[[bytes], Result] = partial(
    decode_line, msgspec.json.Decoder(Result), "result"
)
"""Read one line. Thread-safe. Raises MalformedMessage."""
