"""What a client sends, what a reply means, and what may be sent again. Does no I/O.

A call is repeated only where it cannot be carried out twice:

- the connection could not be made: nothing was sent;
- 429 and 503 with `Retry-After`: the server says that it has not accepted the call;
- the connection broke later: only with an `Idempotency-Key`, by which the server recognises a
  repeat. A client makes one by itself for each call, except while the server has no room for more.
"""

from __future__ import annotations

import dataclasses
import math
import random
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal
from urllib.parse import urlsplit

import msgspec
import orjson

from rdv.client.answer import Answers, Reply
from rdv.client.errors import ClientError, InvalidCall, NoAnswer, RequestRefused
from rdv.payload import UnusableJson, check_numbers_and_depth
from rdv.retry_after import retry_after_ms

REPLY_BYTES_MAX: Final = 64 * 1024 * 1024
"""The maximum size of a reply: a longer one is no reply of rdv."""

OUTCOMES_MAX: Final = 1_000
"""The maximum number of outcomes in one call."""

DELAY_S: Final = 0.05
"""The delay before the first repeat after a failure; it doubles with each further one."""

NO_ROOM: Final = "too_many_idempotency_keys"
_OK, _BAD, _TOO_MANY, _UNAVAILABLE, _SERVER = 200, 400, 429, 503, 500
_TIMEOUT = 408

_decode_reply = msgspec.json.Decoder(Reply).decode
_decode_answers = msgspec.json.Decoder(Answers).decode


class NotGiven:
    """The type of `NOT_GIVEN`, the default of an argument for which None is a value."""

    def __repr__(self) -> str:
        return "NOT_GIVEN"


NOT_GIVEN: Final = NotGiven()


@dataclass(frozen=True)
class Call:
    """One call: it is sent by POST. The headers have no token, which is the connection's."""

    path: str
    body: bytes
    key: str = ""
    """The idempotency key; empty without one."""
    is_own_key: bool = False
    """Whether the client has made the key itself, and may leave it out."""
    request_id: str = ""

    def headers(self) -> dict[str, str]:
        found = {"Content-Type": "application/json"}
        if self.key:
            found["Idempotency-Key"] = '"' + self.key.replace("\\", r"\\").replace('"', r"\"") + '"'
        if self.request_id:
            found["X-Request-Id"] = self.request_id
        return found

    def without_key(self) -> Call:
        return Call(self.path, self.body, request_id=self.request_id)


@dataclass(frozen=True)
class Failed:
    """Why an attempt has failed, and whether the call may be sent again."""

    message: str
    repeat: Literal["always", "keyed", "never"] = "never"
    """`keyed`: only with an idempotency key, as the server may have accepted the call."""
    status: int = 0
    code: str = "unreachable"
    after_s: float | None = None
    """The server's `Retry-After`."""
    is_refusal: bool = False
    """Whether the caller is at fault: another attempt would be refused as well."""
    is_timeout: bool = False


class Attempts:
    """Counts the attempts at one call, and says when to make the next one. One thread."""

    def __init__(self, address: str, call: Call, retries: int, ends_s: float) -> None:
        """`ends_s` is when the caller's timeout is over, on the monotonic clock."""
        self.call = call
        self.count = 0
        self.is_full = False
        """Whether the server has no room for further keys of this client."""
        self._address, self._retries, self._ends_s = address, retries, ends_s

    def left_s(self, now_s: float) -> float:
        """Return the seconds left for the next attempt, which begins now. Raises NoAnswer."""
        left_s = self._ends_s - now_s
        if left_s <= 0:
            raise self.error(Failed("the timeout is over", code="timeout", is_timeout=True))
        self.count += 1
        return left_s

    def delay_s(self, failure: Failed, now_s: float) -> float:
        """Return after which time in seconds to try again. Raises RequestRefused, NoAnswer."""
        if failure.code == NO_ROOM and self.call.is_own_key:
            self.call, self.is_full = self.call.without_key(), True
            return 0.0
        may_repeat = failure.repeat == "always" or (failure.repeat == "keyed" and self.call.key)
        if failure.is_refusal or not may_repeat or self.count > self._retries:
            raise self.error(failure)
        delay_s = failure.after_s
        if delay_s is None:  # the jitter keeps clients apart that have failed together
            delay_s = DELAY_S * 2 ** (self.count - 1) * (0.5 + random.random() / 2)  # noqa: S311
        if delay_s >= self._ends_s - now_s:
            raise self.error(failure)
        return delay_s

    def error(self, failure: Failed) -> ClientError:
        """Return the error for a failure that ends the call."""
        what = self._address, failure.status, failure.code, failure.message
        if failure.is_refusal:
            return RequestRefused(*what)
        return NoAnswer(*what, max(1, self.count), failure.is_timeout)


def decide_call(
    data: Any,
    *,
    key: str | int | None = None,
    trace: bool = False,
    schedule: str | Mapping[str, Any] | None = None,
    models: Iterable[str] | None = None,
    deadline_ms: float | None = None,
    request_id: str = "",
    idempotency_key: str | None = None,
) -> Call:
    """Return the call of `decide`. Raises InvalidCall."""
    body: dict[str, Any] = {"data": data}
    if key is not None:
        body["key"] = key_text(key)
    if schedule is not None:
        body["schedule"] = schedule if isinstance(schedule, str) else dict(schedule)
    if models is not None:
        if isinstance(models, str):
            raise _invalid("models is a list of names, not a text")
        body["models"] = list(models)
    if deadline_ms is not None:
        body["deadline_ms"] = deadline_ms
    if trace:
        body["trace"] = True
    return _keyed("/v1/decide", dump(body), idempotency_key, request_id)


def rows_call(
    rows: Iterable[Any],
    *,
    keys: Iterable[str | int | None] | None = None,
    trace: bool = False,
    schedule: str | Mapping[str, Any] | None = None,
    models: Iterable[str] | None = None,
    deadline_ms: float | None = None,
    request_id: str = "",
    idempotency_key: str | None = None,
) -> Call:
    """Return the call that decides several rows. Raises InvalidCall.

    It has no idempotency key unless the caller gives one: a proxy that is started again does not
    know keys of several rows any more, so that a repeat could decide them twice.
    """
    rows = list(rows)
    if not rows:
        raise _invalid("there are no rows to decide")
    named = [None] * len(rows) if keys is None else list(keys)
    if len(named) != len(rows):
        raise _invalid(f"{len(named)} keys do not fit {len(rows)} rows")
    one = decide_call(
        None,
        trace=trace,
        schedule=schedule,
        models=models,
        deadline_ms=deadline_ms,
        request_id=request_id,
        idempotency_key=idempotency_key,
    )
    body = orjson.loads(one.body)
    del body["data"]
    whole = [
        {"data": row} if key is None else {"data": row, "key": key_text(key)}
        for row, key in zip(rows, named, strict=True)
    ]
    call = Call("/v1/decide", dump({**body, "rows": whole}), one.key, one.is_own_key, request_id)
    return call.without_key() if call.is_own_key else call


def outcomes_call(truths: list[dict[str, Any]], idempotency_key: str | None = None) -> Call:
    """Return the call that reports outcomes. Raises InvalidCall."""
    return _keyed("/v1/outcomes", dump(truths), idempotency_key, "")


def _keyed(path: str, body: bytes, given: str | None, request_id: str) -> Call:
    if given is not None and not (given.isascii() and given.isprintable() and given):
        raise _invalid("an idempotency key is a text of printable ASCII, and not empty")
    return Call(path, body, given or secrets.token_hex(16), given is None, request_id)


def key_text(key: str | int) -> str:
    """Return a request's key as text: a whole number by its decimal digits. Raises InvalidCall."""
    if isinstance(key, str):
        return key
    if isinstance(key, bool) or not hasattr(key, "__index__"):
        raise _invalid(f"a key is a text or a whole number, not {type(key).__name__}")
    return str(key.__index__())


def dump(value: Any) -> bytes:
    """Return JSON of plain values, numpy, pydantic models, pandas rows and dataclasses.

    NaN, which JSON does not have, becomes null, as None does: both mean a missing value. Raises
    InvalidCall for an infinite number, and for what has no JSON form.
    """
    try:
        text = orjson.dumps(value, default=_plain, option=orjson.OPT_SERIALIZE_NUMPY)
        if b"null" in text and _has_infinity(value):
            raise _invalid("an infinite number is not JSON: send null, or a text")
    except (TypeError, ValueError, RecursionError) as error:
        raise _invalid(f"this cannot be sent as JSON: {error}") from None
    return text


def checked_data(value: Any) -> bytes:
    """Return `dump(value)`, checked as a server checks it. Raises InvalidCall."""
    text = dump(value)
    try:
        check_numbers_and_depth(text)
    except UnusableJson as error:
        raise _invalid(error.said_of("the data")) from None
    return text


def _plain(value: Any) -> object:
    for name in ("model_dump", "tolist", "to_dict", "_asdict"):  # pydantic, numpy, pandas
        if callable(convert := getattr(value, name, None)):
            return convert()
    if isinstance(value, msgspec.Struct):
        return msgspec.to_builtins(value)
    if isinstance(value, (set, frozenset)):
        return sorted(value)
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"a {type(value).__name__} has no JSON form")


def _has_infinity(value: Any) -> bool:  # noqa: PLR0911
    if isinstance(value, float):
        return math.isinf(value)
    if isinstance(value, dict):
        return any(map(_has_infinity, value.values()))
    if isinstance(value, (list, tuple)):
        return any(map(_has_infinity, value))
    if value is None or isinstance(value, (str, bytes, int)):
        return False
    if dataclasses.is_dataclass(value):  # orjson writes these itself
        return any(_has_infinity(getattr(value, one.name)) for one in dataclasses.fields(value))
    try:
        return _has_infinity(_plain(value))
    except TypeError:
        return False


def _invalid(message: str) -> InvalidCall:
    return InvalidCall(message)


def read_answer(body: bytes) -> Reply | Failed:
    """Return the body of a 200 of `decide`."""
    try:
        return _decode_reply(body)
    except (msgspec.DecodeError, msgspec.ValidationError, UnicodeDecodeError) as error:
        return Failed(f"the reply is not one of rdv: {error}", status=_OK, code="invalid_reply")


def read_answers(body: bytes, count: int) -> list[Reply | Failed] | Failed:
    """Return the answers of a 200 of several rows: a row may have failed by itself."""
    try:
        texts = _decode_answers(body).answers
    except (msgspec.DecodeError, msgspec.ValidationError, UnicodeDecodeError) as error:
        return Failed(f"the reply is not one of rdv: {error}", status=_OK, code="invalid_reply")
    if len(texts) != count:
        message = f"the reply has {len(texts)} answers to {count} rows"
        return Failed(message, status=_OK, code="invalid_reply")
    return [_row_answer(bytes(text)) for text in texts]


def _row_answer(text: bytes) -> Reply | Failed:
    if b'"error"' in text:
        try:
            _decode_reply(text)
        except (msgspec.DecodeError, msgspec.ValidationError):
            code, message = _said(_OK, text)
            return Failed(message, status=_OK, code=code)
    return read_answer(text)


def failure_of(status: int, headers: Mapping[str, str], body: bytes) -> Failed:
    """Return what a reply without the status 2xx means."""
    code, message = _said(status, body)
    after_ms = retry_after_ms(headers.get("retry-after", ""))
    after_s = None if after_ms is None else after_ms / 1000
    if status in (_TOO_MANY, _UNAVAILABLE):
        repeat: Literal["always", "never"] = "never" if after_s is None else "always"
        return Failed(message, repeat, status, code, after_s)
    # 408: the server got the request too slowly, and has not accepted it.
    is_refusal = status < _SERVER and status != _TIMEOUT and status >= _BAD
    repeat = "always" if status == _TIMEOUT else "never"
    return Failed(message, repeat, status, code, None, is_refusal)


def _said(status: int, body: bytes) -> tuple[str, str]:
    """Return the server's code and message; of another server its text, shortened."""
    try:
        error = orjson.loads(body)["error"]
        return str(error["code"]), str(error["message"])
    except (ValueError, KeyError, TypeError):
        text = " ".join(body[:200].decode(errors="replace").split())
        return f"http_{status}", text or "the reply has no text"


def checked_url(url: str) -> str:
    """Return an address without a slash at its end. Raises InvalidCall."""
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError as error:
        raise _invalid(f"this is no address: {error}") from None
    if "@" in url:
        raise _invalid("an address has no user and no password: pass token=…")
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise _invalid(f"{url!r} is no address: http://127.0.0.1:8100, for example")
    if parts.query or parts.fragment:
        raise _invalid(f"{url!r} has more than a host and a path")
    return url.rstrip("/")


def checked_timeout(timeout_s: float) -> float:
    """Return a timeout in seconds. Raises InvalidCall."""
    if not 0 < timeout_s < math.inf:
        raise _invalid(f"a timeout is a number of seconds above 0, not {timeout_s!r}")
    return float(timeout_s)


def checked_token(token: str | None) -> dict[str, str]:
    """Return the headers of a token. Raises InvalidCall, which does not show the token."""
    if token is None:
        return {}
    if not (token and token.isascii() and token.isprintable() and " " not in token):
        raise _invalid("the token is not a text of visible ASCII")
    return {"Authorization": f"Bearer {token}"}
