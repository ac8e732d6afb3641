"""Declare the section [traces] of rdv.toml: which decisions are exported, and where to."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from typing import Annotated

import msgspec

from rdv.decision.sections import live, on_serve
from rdv.errors import InputFault
from rdv.stream import DAY_MS

TRACES_ENVIRONMENT = (
    *(
        f"OTEL_EXPORTER_OTLP_{kind}{name}"
        for name in (
            "ENDPOINT", "HEADERS", "TIMEOUT", "COMPRESSION", "CERTIFICATE", "CLIENT_CERTIFICATE",
            "CLIENT_KEY", "PROTOCOL",
        )
        for kind in ("", "TRACES_")
    ),
    "OTEL_SERVICE_NAME", "OTEL_RESOURCE_ATTRIBUTES", "OTEL_SDK_DISABLED", "OTEL_TRACES_EXPORTER",
)  # fmt: skip
"""The variables that the process gets that exports traces; models do not get them."""


class TracesMissing(InputFault):
    """Traces are to be exported, and the library for it is not installed."""

    _text = "traces are not exported: opentelemetry-proto is not installed"
    _hint = "pip install 'rdv[traces]', or set neither an endpoint nor OTEL_EXPORTER_OTLP_ENDPOINT."


class Traces(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Configures the export of decisions as OpenTelemetry traces (`rdv.traces`)."""

    endpoint: Annotated[
        str,
        on_serve(
            'Collector (OTLP over HTTP), "http://127.0.0.1:4318"; OTEL_EXPORTER_OTLP_ENDPOINT wins'
        ),
    ] = ""
    defaults: Annotated[
        float, live("Share of the defaults, and of requests without an answer, exported", 0, 1)
    ] = 1.0
    fallbacks: Annotated[float, live("Share of the fallbacks that are exported", 0, 1)] = 1.0
    late: Annotated[
        float,
        live("Share of the requests exported that are answered late, or by a model", 0, 1),
    ] = 1.0
    errors: Annotated[
        float, live("Share of the requests exported for which a model has failed", 0, 1)
    ] = 1.0
    disagreements: Annotated[
        float, live("Share of the requests exported on which models disagree", 0, 1)
    ] = 1.0
    sampled: Annotated[
        float, live("Share of the requests exported whose traceparent says: sampled", 0, 1)
    ] = 1.0
    others: Annotated[float, live("Share of all other requests that are exported", 0, 1)] = 0.01
    unsampled_callers: Annotated[
        bool,
        live("Whether the above holds where a traceparent says: not sampled (but for others)"),
    ] = True
    lag_max_ms: Annotated[
        int,
        live(
            "How long spans wait for a collector that is away, before they are dropped", 1, DAY_MS
        ),
    ] = 600_000


def are_exported(traces: Traces, environ: Mapping[str, str]) -> bool:
    """Return whether traces are to be exported: there is an address, and nothing forbids it."""
    if environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return False
    if environ.get("OTEL_TRACES_EXPORTER", "").strip().lower() == "none":
        return False
    return bool(traces.endpoint or otlp_variable(environ, "ENDPOINT")[1])


def has_otlp() -> bool:
    """Return whether the library for OTLP is installed: the extra `traces`."""
    try:
        return importlib.util.find_spec("opentelemetry.proto") is not None
    except ModuleNotFoundError:
        return False


def otlp_variable(environ: Mapping[str, str], key: str) -> tuple[str, str]:
    """Return the name and value of a variable; the value is empty when it is not set."""
    for kind in ("TRACES_", ""):
        name = f"OTEL_EXPORTER_OTLP_{kind}{key}"
        if value := environ.get(name, "").strip():
            return name, value
    return f"OTEL_EXPORTER_OTLP_{key}", ""
