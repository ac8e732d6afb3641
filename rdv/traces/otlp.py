"""Spans as a message of OTLP, and the answer of a collector (opentelemetry-proto)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from rdv import __version__
from rdv.decision.traces import TracesMissing
from rdv.traces.spans import Attributes, Event, Span, Value

try:
    from google.protobuf.message import DecodeError
    from opentelemetry.proto.collector.trace.v1 import trace_service_pb2 as service
    from opentelemetry.proto.common.v1 import common_pb2 as common
    from opentelemetry.proto.resource.v1 import resource_pb2 as resources
    from opentelemetry.proto.trace.v1 import trace_pb2 as traces
except ImportError as error:
    raise TracesMissing from error

_SAMPLED = 0x01
_HAS_IS_REMOTE, _IS_REMOTE = 0x100, 0x200

_KINDS = {
    "server": traces.Span.SPAN_KIND_SERVER,
    "client": traces.Span.SPAN_KIND_CLIENT,
    "internal": traces.Span.SPAN_KIND_INTERNAL,
}


class Accepted(NamedTuple):
    """Holds what a collector has said about spans that it has taken."""

    rejected: int = 0
    message: str = ""


def encode(spans: Iterable[Span], resource: Mapping[str, str]) -> bytes:
    """Return a request with these spans, of what has these attributes.

    Raises ValueError, TypeError for what OTLP cannot hold, as a number of more than 64 bits.
    """
    own = {
        "telemetry.sdk.name": "rdv",
        "telemetry.sdk.language": "python",
        "telemetry.sdk.version": __version__,
    }
    scope = traces.ScopeSpans(
        scope=common.InstrumentationScope(name="rdv", version=__version__),
        spans=[_span(span) for span in spans],
    )
    attributes = _attributes({**own, **resource})
    found = traces.ResourceSpans(
        resource=resources.Resource(attributes=attributes), scope_spans=[scope]
    )
    message = service.ExportTraceServiceRequest(resource_spans=[found])
    return bytes(message.SerializeToString())


def read_response(body: bytes) -> Accepted:
    """Return what a collector says of spans that it has taken; what is unreadable says nothing."""
    try:
        partial = service.ExportTraceServiceResponse.FromString(body).partial_success
    except DecodeError:
        return Accepted()
    return Accepted(max(0, partial.rejected_spans), str(partial.error_message))


def _span(span: Span) -> Any:
    status = None
    if span.error is not None:
        status = traces.Status(code=traces.Status.STATUS_CODE_ERROR, message=_sound(span.error))
    return traces.Span(
        trace_id=bytes.fromhex(span.trace_id),
        span_id=bytes.fromhex(span.span_id),
        parent_span_id=bytes.fromhex(span.parent_id),
        trace_state=_sound(span.tracestate),
        flags=_SAMPLED | _HAS_IS_REMOTE | (_IS_REMOTE if span.has_remote_parent else 0),
        name=_sound(span.name),
        kind=_KINDS[span.kind],
        start_time_unix_nano=span.start_ns,
        end_time_unix_nano=span.end_ns,
        attributes=_attributes(span.attributes),
        events=[_event(event) for event in span.events],
        status=status,
    )


def _event(event: Event) -> Any:
    return traces.Span.Event(
        name=_sound(event.name),
        time_unix_nano=event.time_ns,
        attributes=_attributes(event.attributes),
    )


def _attributes(attributes: Attributes) -> Sequence[Any]:
    return [
        common.KeyValue(key=_sound(key), value=_value(value))
        for key, value in attributes.items()
        if value is not None
    ]


def _value(value: Value) -> Any:
    if isinstance(value, bool):
        return common.AnyValue(bool_value=value)
    if isinstance(value, int):
        return common.AnyValue(int_value=value)
    if isinstance(value, float):
        return common.AnyValue(double_value=value)
    if isinstance(value, str):
        return common.AnyValue(string_value=_sound(value))
    found = [common.AnyValue(string_value=_sound(one)) for one in value]
    return common.AnyValue(array_value=common.ArrayValue(values=found))


def _sound(text: str) -> str:
    """Return text that UTF-8 can hold: JSON may have half of a surrogate pair."""
    return text.encode("utf-8", "replace").decode()
