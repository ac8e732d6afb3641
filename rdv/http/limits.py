"""Every limit of the door: typed, commented and defaulted in one place."""

from __future__ import annotations

from dataclasses import dataclass, fields

from rdv.http.errors import InvalidLimit

_LIMIT_MAX = 2**40


@dataclass(frozen=True)
class Limits:
    """What one client, and all of them together, may use. Raises InvalidLimit."""

    header_bytes_max: int = 16_384
    """A larger head (request line and headers) is refused: 431. Trailers have the same limit."""

    headers_max: int = 100
    """More header lines are refused: 431."""

    target_bytes_max: int = 4_096
    """A longer request target is refused: 414."""

    body_bytes_max: int = 1_048_576
    """A larger body is refused: 413; by its Content-Length before a byte of it is read, a chunked
    one as soon as it is over."""

    connections_max: int = 1_120
    """Further connections take the place of idle ones, or are told 503 and closed."""

    client_share: float = 0.9
    """What one client can have of `connections_max` and `partial_bytes_max` while it is alone."""

    partial_bytes_max: int = 268_435_456
    """Bytes of requests that have come in part, of all connections together; beyond: 503."""

    refusals_max: int = 64
    """As many connections beyond `connections_max` are told 503; those beyond are just closed."""

    pipeline_max: int = 64
    """Requests of one connection that wait for an answer; it is not read any further beyond."""

    client_timeout_ms: int = 10_000
    """A head, and then a body, that takes longer to arrive is refused: 408 (slow loris). Also how
    long a new connection may stay silent."""

    keep_alive_ms: int = 75_000
    """An idle connection is closed after this time."""

    answer_timeout_ms: int = 60_000
    """A request that the application has not answered by then is answered 503. Not an SLA: this
    only bounds what an application that forgets requests can hold."""

    write_timeout_ms: int = 10_000
    """A client that takes nothing of what waits for it for this time is cut off."""

    write_buffer_bytes_max: int = 4_194_304
    """A client for whom more than this waits to be read is cut off."""

    linger_ms: int = 1_000
    """After the last answer of a connection the server reads on and discards for this time, so that
    the client sees the answer and not a reset."""

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
