"""Defines all limits of the HTTP server, with types, comments and defaults."""

from __future__ import annotations

from dataclasses import dataclass, fields

from rdv.http.failure import InvalidLimit

_LIMIT_MAX = 2**40


@dataclass(frozen=True)
class Limits:
    """Limits what one client, and all clients together, may use. Raises InvalidLimit."""

    header_bytes_max: int = 16_384
    """A larger head (request line and headers) is refused: 431. Trailers have the same limit."""

    headers_max: int = 100
    """More header lines are refused: 431."""

    target_bytes_max: int = 4_096
    """A longer request target is refused: 414."""

    body_bytes_max: int = 1_048_576
    """A larger body is refused: 413. With a Content-Length that happens before any byte of it is
    read, with chunks as soon as the limit is exceeded.
    """

    connections_max: int = 1_120
    """Further connections replace idle ones, or are answered 503 and closed."""

    client_share: float = 0.9
    """The share of `connections_max` and `partial_bytes_max` for a client that is alone."""

    partial_bytes_max: int = 268_435_456
    """Maximum bytes of incomplete requests, for all connections together; beyond it: 503."""

    refusals_max: int = 64
    """The maximum number of excess connections that get a 503; further ones are just closed."""

    pipeline_max: int = 64
    """The maximum number of unanswered requests per connection; then reading pauses."""

    client_timeout_ms: int = 10_000
    """A head, and then a body, that takes longer to arrive is refused: 408 (slow loris). Also the
    maximum silence of a new connection.
    """

    keep_alive_ms: int = 75_000
    """An idle connection is closed after this time."""

    answer_timeout_ms: int = 60_000
    """A request that the application has not answered by then is answered 503. This is not an SLA:
    it only bounds the resources of an application that forgets requests.
    """

    write_timeout_ms: int = 10_000
    """A client that reads none of its pending answers for this time is disconnected."""

    write_buffer_bytes_max: int = 4_194_304
    """A client with more than this waiting to be read is disconnected."""

    linger_ms: int = 1_000
    """After the last answer of a connection the server reads and discards for this time, so that
    the client sees the answer and not a reset.
    """

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if field.name == "client_share":
                if not 0 < value <= 1:
                    raise InvalidLimit(field.name, f"{value!r} is not above 0 and up to 1")
                continue
            if isinstance(value, bool) or not isinstance(value, int):
                raise InvalidLimit(field.name, f"{value!r} is not a whole number")
            low = 0 if field.name in {"body_bytes_max", "refusals_max"} else 1
            if not low <= value <= _LIMIT_MAX:
                raise InvalidLimit(field.name, f"{value} is not between {low} and {_LIMIT_MAX}")
