"""Parses the body of `POST /v1/decide` into a request, or a refusal with the reason. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, NamedTuple

import msgspec
import orjson
from msgspec import UNSET, Meta, Raw, UnsetType

from rdv.cache import BoundedCache
from rdv.errors import http_status
from rdv.http import Failure
from rdv.payload import DEPTH_MAX, UnusableJson, check_numbers_and_depth, unreadable
from rdv.rendezvous.schedule import (
    INLINE_BYTES_MAX,
    SLA_MS_MAX,
    InvalidSchedule,
    Schedule,
    inline_text,
    read_inline,
    windows_ms,
)
from rdv.rendezvous.schedule.load import trimmed

KEY_CHARACTERS_MAX = 1_024
MODELS_MAX = 256
MODELS_BYTES_MAX = 32_768
NAME_CHARACTERS_MAX = 128
ABSENT = Raw(b"")
INLINE_MAX = 256
"""The maximum number of inline schedules kept compiled, and of the bytes of their JSON."""
INLINE_CACHE_BYTES_MAX = 1_048_576

_ModelName = Annotated[str, Meta(max_length=NAME_CHARACTERS_MAX)]


_decode_models = msgspec.json.Decoder(
    Annotated[list[_ModelName], Meta(max_length=MODELS_MAX)] | None
).decode

_decode_any = msgspec.json.Decoder().decode

_ROWS_DEPTH = 3
"""How deep the data of a row is in a body: in an object, in a list, and in the object of a row."""

_NAME_BYTES_MAX = 6 * NAME_CHARACTERS_MAX + 2
"""The size of a name in quotes, with each character escaped."""

_INLINE_OFF = Failure(
    422, "inline_schedules_off", "this decision takes no inline schedules (http.inline_schedules)"
)


Key = Annotated[str, Meta(max_length=KEY_CHARACTERS_MAX)]


class Body(msgspec.Struct, frozen=True, forbid_unknown_fields=True, gc=False):
    """Describes the body of `POST /v1/decide`; only `data` is required."""

    data: Raw
    key: Key | None = None
    """A whole number is taken as its decimal text."""
    schedule: Raw = ABSENT
    """Not parsed before its length is checked: see `ScheduleChoice.read`."""
    deadline_ms: Annotated[float, Meta(gt=0)] | None = None
    trace: bool = False
    models: Raw = ABSENT
    """As `schedule`: see `read_models`."""


class _AnyKeyBody(Body, frozen=True, forbid_unknown_fields=True, gc=False):
    key: Key | int | None = None  # type: ignore[assignment]


_decode = msgspec.json.Decoder(Body).decode
_decode_any_key = msgspec.json.Decoder(_AnyKeyBody).decode


class Rows(msgspec.Struct, frozen=True, forbid_unknown_fields=True, gc=False):
    """Describes the body of `POST /v1/decide` with several rows; each is a decision of its own.

    The other fields hold for all of them, as in `Body`.
    """

    rows: list[Raw] | UnsetType | None = UNSET
    """Each is the data of a row, or an object with nothing but its `data` and its own `key`."""
    data: Raw = ABSENT
    """Only to say that it does not go with rows."""
    key: Key | int | None = None
    schedule: Raw = ABSENT
    deadline_ms: Annotated[float, Meta(gt=0)] | None = None
    trace: bool = False
    models: Raw = ABSENT


class Row(msgspec.Struct, frozen=True, forbid_unknown_fields=True, gc=False):
    """Describes a row with a key of its own."""

    data: Raw
    key: Key | int | None = None


_decode_rows = msgspec.json.Decoder(Rows).decode
_decode_object = msgspec.json.Decoder(dict[str, Raw]).decode
_decode_row = msgspec.json.Decoder(Row).decode


def read_body(raw: bytes) -> Body | Failure:
    """Parse the body, and check it as far as possible without knowing the schedules."""
    try:
        if not raw.isascii():
            raw.decode()
        check_numbers_and_depth(raw, DEPTH_MAX + 1)
        body = _decode(raw)
    except msgspec.ValidationError:
        return _with_any_key(raw)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        return undecodable_body(raw, error)
    except UnusableJson as error:
        return unusable_json(error)
    return body


def _with_any_key(raw: bytes) -> Body | Failure:
    """Return a body whose key may be a whole number; it counts as its decimal text."""
    try:
        body = _decode_any_key(raw)
    except (msgspec.ValidationError, msgspec.DecodeError) as error:
        return undecodable_body(raw, error)
    values = msgspec.structs.asdict(body)
    return Body(**{**values, "key": _text_of(values["key"])})


def read_rows(raw: bytes, rows_max: int) -> list[Body] | Failure | None:
    """Return the rows of a body that `read_body` does not take; None when it has no `rows`.

    What holds for all rows is the same in each.
    """
    try:
        # The data of a row may nest as deep as that of a single request.
        check_numbers_and_depth(raw, DEPTH_MAX + _ROWS_DEPTH)
        found = _decode_rows(raw)
    except UnusableJson as error:
        return unusable_json(error)
    except (msgspec.ValidationError, msgspec.DecodeError) as error:
        return undecodable_body(raw, error) if b'"rows"' in raw else None
    if found.rows is UNSET:
        return None
    assert not isinstance(found.rows, UnsetType)
    fault = ""
    if found.data is not ABSENT:
        fault = "it has both data and rows: send one of them"
    elif not found.rows:
        fault = "rows is null: send a list" if found.rows is None else "rows is empty"
    if fault or found.rows is None:
        return Failure(400, "invalid_request", f"the body does not fit: {fault}")
    if len(found.rows) > rows_max:
        message = f"{len(found.rows):,} rows are more than http.rows_max {rows_max:,}: send parts"
        return Failure(413, "too_many_rows", message, {"rows": len(found.rows), "limit": rows_max})
    shared = Body(
        ABSENT, _text_of(found.key), found.schedule, found.deadline_ms, found.trace, found.models
    )
    bodies = [_row_of(row, shared, number) for number, row in enumerate(found.rows)]
    wrong = next((body for body in bodies if isinstance(body, Failure)), None)
    return wrong or [body for body in bodies if isinstance(body, Body)]


def _row_of(row: Raw, shared: Body, number: int) -> Body | Failure:
    """Return a row: with a key of its own, or the data alone."""
    data, key, text = row, shared.key, bytes(row)
    if text[:1] == b"{" and (b'"data"' in text or b"\\u" in text):
        try:
            is_row = {"data"} <= _decode_object(row).keys() <= {"data", "key"}
            own = _decode_row(row) if is_row else None
        except msgspec.ValidationError as error:
            message = f"the body does not fit: rows[{number}]: {error}"
            return Failure(400, "invalid_request", message)
        if own is not None:
            data, key = own.data, shared.key if own.key is None else _text_of(own.key)
    try:
        check_numbers_and_depth(bytes(data))
    except UnusableJson as error:
        return unusable_json(error, f"rows[{number}]")
    return msgspec.structs.replace(shared, data=data, key=key)


def _text_of(key: str | int | None) -> str | None:
    return str(key) if isinstance(key, int) else key


def read_models(raw: Raw) -> list[str] | Failure | None:
    """Return the `models` of a body; None when the client has named none."""
    if len(bytes(raw)) > MODELS_BYTES_MAX:
        message = f"the body does not fit: models is longer than {MODELS_BYTES_MAX} bytes"
        return Failure(400, "invalid_request", message)
    try:
        models: list[str] | None = _decode_models(raw)
    except (msgspec.ValidationError, RecursionError) as error:
        return Failure(400, "invalid_request", f"the body does not fit: models: {error}")
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        return Failure(400, "malformed_json", f"the body is not JSON: models: {error}")
    return models


def undecodable_body(raw: bytes, error: Exception) -> Failure:
    """Return the refusal of a body that a decoder rejects."""
    if isinstance(error, msgspec.ValidationError):
        return Failure(400, "invalid_request", f"the body does not fit: {error}")
    return unusable_json(unreadable(raw, error))


def unusable_json(error: UnusableJson, what: str = "the body") -> Failure:
    """Return the refusal of a text that is not JSON (400), or has unsupported JSON (422)."""
    message = error.said_of(what)
    if error.kind == "number_out_of_range":
        return Failure(422, "number_out_of_range", message)
    if error.kind == "nested_too_deeply":
        return Failure(422, "nested_too_deeply", message)
    return Failure(400, "malformed_json", message)


class ChosenSchedule(NamedTuple):
    """Holds a schedule, and the parts of it that its requests carry."""

    schedule: Schedule
    windows_ms: dict[str, float]
    asked: str | Raw
    """Its name; or the JSON of an inline one."""


class RequestOptions(NamedTuple):
    """Holds what a request asks for.

    `asked` is its schedule's name or JSON, or None: the live one.
    """

    chosen: ChosenSchedule
    asked: Any = None
    cohort: str | None = None
    models: list[str] | None = None
    id: str = ""
    """The request's id where a draw has needed it already."""
    propensity: float | None = None
    """The probability of this schedule, where it was drawn."""


def _chosen(schedule: Schedule, asked: str | Raw) -> ChosenSchedule:
    return ChosenSchedule(schedule, windows_ms(schedule), asked)


@dataclass(frozen=True)
class InlineRules:
    """Holds the limits in rdv.toml on the inline schedules of requests."""

    is_allowed: bool = True
    bytes_max: int = INLINE_BYTES_MAX
    sla_multiple: float = SLA_MS_MAX
    """The maximum SLA of an inline schedule, as a multiple of the live SLA."""


class ScheduleChoice:
    """Chooses the schedule of a request at this proxy: the live one, a named, or an inline one."""

    def __init__(
        self, by_name: Mapping[str, Schedule], live: str, inline: InlineRules | None = None
    ) -> None:
        self._by_name = {name: _chosen(schedule, name) for name, schedule in by_name.items()}
        self._live = self._by_name[live]
        self.usual = RequestOptions(self._live)
        """What a request asks for that names nothing and is in no cohort."""
        self._rules = inline or InlineRules()
        self._inline = BoundedCache[ChosenSchedule](INLINE_MAX, INLINE_CACHE_BYTES_MAX)

    def read(self, raw: Raw) -> ChosenSchedule | Failure | None:
        """Return what the `schedule` of a body asks for; None when it is null.

        The length is checked first: a text that is too long is not even parsed.
        """
        text = bytes(raw)
        if text == b"null":
            return None
        failure = self._unreadable(text)
        wanted = _parsed(text) if failure is None else failure
        return wanted if isinstance(wanted, Failure) else self.choose(wanted)

    def _unreadable(self, text: bytes) -> Failure | None:
        """Return what is wrong with a schedule before it is parsed."""
        if text[:1] != b"{":
            if text[:1] == b'"' and len(text) <= _NAME_BYTES_MAX:
                return None
            message = "the body does not fit: schedule is neither a schedule's name nor an object"
            return Failure(400, "invalid_request", message)
        if not self._rules.is_allowed:
            return _INLINE_OFF
        return self._too_long(len(text)) if len(text) > self._rules.bytes_max else None

    def choose(self, wanted: str | dict[str, Any] | None) -> ChosenSchedule | Failure:
        """Return the schedule of a name, an inline one, or the live one."""
        if wanted is None:
            return self._live
        if not isinstance(wanted, str):
            return self._inlined(wanted)
        found = self._by_name.get(wanted)
        if found is None:
            names = ", ".join(sorted(self._by_name))
            message = f"there is no schedule {wanted[:100]!r}; there are {names}"
            return Failure(422, "unknown_schedule", message, {"schedule": wanted[:100]})
        return found

    def _inlined(self, wanted: dict[str, Any]) -> ChosenSchedule | Failure:
        try:
            text = inline_text(wanted)
            if len(text) > self._rules.bytes_max:
                return self._too_long(len(text))
            known = self._inline.get(text)
            if known is None:
                known = _compact(read_inline(wanted, text), text)
                self._inline.put(text, known, len(text))
        except InvalidSchedule as error:
            return Failure(http_status(error), "invalid_schedule", error.text())
        live_ms = self._live.schedule.sla_ms
        if known.schedule.sla_ms > live_ms * self._rules.sla_multiple:
            return self._too_slow(known.schedule.sla_ms, live_ms)
        return known

    def _too_long(self, size: int) -> Failure:
        limit = self._rules.bytes_max
        message = (
            f"the inline schedule has {size:,} bytes, more than http.inline_bytes_max {limit:,}"
        )
        fields = {"bytes": size, "inline_bytes_max": limit}
        return Failure(422, "inline_schedule_too_large", message, fields)

    def _too_slow(self, sla_ms: float, live_ms: float) -> Failure:
        limit_ms = live_ms * self._rules.sla_multiple
        message = (
            f"the inline schedule asks for {sla_ms:,.10g} ms, and may ask for {limit_ms:,.10g} ms: "
            f"http.inline_sla_multiple {self._rules.sla_multiple:g} times the live SLA"
        )
        fields = {"sla_ms": sla_ms, "sla_ms_max": limit_ms}
        return Failure(422, "inline_sla_too_long", message, fields)


def _parsed(text: bytes) -> Any:
    """Parse a schedule's name or an object; return a Failure for invalid JSON."""
    try:
        return _decode_any(text)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        return Failure(400, "malformed_json", f"the body is not JSON: schedule: {error}")
    except RecursionError:
        return Failure(422, "invalid_schedule", "the schedule is nested too deeply")


def _compact(schedule: Schedule, text: bytes) -> ChosenSchedule:
    """Keep the default as JSON: objects take up to a hundred times as much memory."""
    default = orjson.Fragment(trimmed(orjson.dumps(schedule.default)))
    return _chosen(msgspec.structs.replace(schedule, default=default), Raw(text))
