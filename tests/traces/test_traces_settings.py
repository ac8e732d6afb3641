"""Check where spans are sent, by rdv.toml and the variables of OpenTelemetry."""

from __future__ import annotations

import pytest

from rdv.decision.traces import TRACES_ENVIRONMENT, Traces, are_exported
from rdv.traces.settings import InvalidTraces, destination, resource

ANY, OWN = "OTEL_EXPORTER_OTLP_", "OTEL_EXPORTER_OTLP_TRACES_"


@pytest.mark.parametrize(
    ("endpoint", "environ", "url"),
    [
        ("http://a:4318", {}, "http://a:4318/v1/traces"),
        ("http://a:4318/", {}, "http://a:4318/v1/traces"),
        ("http://a:4318/otlp", {}, "http://a:4318/otlp/v1/traces"),
        ("https://a/otlp/v1/traces", {}, "https://a/otlp/v1/traces"),
        ("", {ANY + "ENDPOINT": "http://b:4318"}, "http://b:4318/v1/traces"),
        ("http://a:4318", {ANY + "ENDPOINT": "http://b:4318/"}, "http://b:4318/v1/traces"),
        ("", {ANY + "ENDPOINT": "http://b", OWN + "ENDPOINT": "http://c/x"}, "http://c/x"),
        ("", {OWN + "ENDPOINT": "http://c:1"}, "http://c:1/"),
        ("http://a", {OWN + "ENDPOINT": " "}, "http://a/v1/traces"),
        ("http://[::1]:4318", {}, "http://[::1]:4318/v1/traces"),
    ],
)
def test_the_address(endpoint, environ, url):
    assert are_exported(Traces(endpoint=endpoint), environ)
    assert destination(endpoint, environ).url == url


@pytest.mark.parametrize(
    ("environ", "name", "text"),
    [
        ({ANY + "ENDPOINT": "collector:4317"}, ANY + "ENDPOINT", "http://HOST:PORT"),
        ({ANY + "ENDPOINT": "http://"}, ANY + "ENDPOINT", "http://HOST:PORT"),
        ({ANY + "ENDPOINT": "http://a:x"}, ANY + "ENDPOINT", "http://HOST:PORT"),
        ({ANY + "ENDPOINT": "http://me:secret@a:x"}, ANY + "ENDPOINT", "http://HOST:PORT"),
        ({ANY + "ENDPOINT": "http://a:99999"}, ANY + "ENDPOINT", "http://HOST:PORT"),
        ({OWN + "ENDPOINT": "http://a/\n"}, "", ""),
        ({ANY + "PROTOCOL": "grpc"}, ANY + "PROTOCOL", "4318"),
        ({OWN + "PROTOCOL": "http/json"}, OWN + "PROTOCOL", "http/protobuf"),
        ({ANY + "COMPRESSION": "zstd"}, ANY + "COMPRESSION", "gzip"),
        ({ANY + "TIMEOUT": "10s"}, ANY + "TIMEOUT", "10000"),
        ({ANY + "TIMEOUT": "nan"}, ANY + "TIMEOUT", "10000"),
        ({ANY + "TIMEOUT": "0"}, ANY + "TIMEOUT", "10000"),
        ({ANY + "HEADERS": "token"}, ANY + "HEADERS", "entry 1"),
        ({ANY + "HEADERS": "a=1,=2"}, ANY + "HEADERS", "entry 2"),
        ({ANY + "HEADERS": "a=1,b c=2"}, ANY + "HEADERS", "entry 2"),
        ({ANY + "HEADERS": "Authorization: Bearer secret=="}, ANY + "HEADERS", "entry 1"),
        ({ANY + "HEADERS": "a=secret%0d%0aX: y"}, ANY + "HEADERS", "value of a"),
    ],
)  # fmt: skip
def test_what_cannot_be_used_is_named(environ, name, text):
    if not name:
        assert destination("http://a", environ).url == "http://a/"
        return
    with pytest.raises(InvalidTraces) as caught:
        destination("http://a", environ)
    assert (caught.value.name, text in caught.value.reason) == (name, True)
    assert "secret" not in str(caught.value)


def test_headers_timeout_compression_and_certificates():
    environ = {
        ANY + "ENDPOINT": "https://user:pw@a",
        ANY + "HEADERS": "Authorization=Basic%20eHg%3D, x-team = fraud ",
        ANY + "TIMEOUT": "2500",
        OWN + "COMPRESSION": "none",
        ANY + "CERTIFICATE": "ca.pem",
        OWN + "CERTIFICATE": "own.pem",
        ANY + "CLIENT_KEY": "key.pem",
        ANY + "CLIENT_CERTIFICATE": "crt.pem",
    }
    found = destination("", environ)
    assert found.headers == (("Authorization", "Basic eHg="), ("x-team", "fraud"))
    assert (found.timeout_s, found.is_compressed) == (2.5, False)
    assert found.certificate == "own.pem"
    assert (found.client_certificate, found.client_key) == ("crt.pem", "key.pem")
    assert found.shown == "https://a/v1/traces"
    assert set(environ) <= set(TRACES_ENVIRONMENT)


@pytest.mark.parametrize(
    ("environ", "found"),
    [
        ({}, {"service.name": "fraud"}),
        ({"OTEL_SERVICE_NAME": "pay"}, {"service.name": "pay"}),
        (
            {"OTEL_RESOURCE_ATTRIBUTES": "service.name=x,team=a%20b"},
            {"service.name": "x", "team": "a b"},
        ),
        (
            {"OTEL_RESOURCE_ATTRIBUTES": "service.name=x", "OTEL_SERVICE_NAME": "pay"},
            {"service.name": "pay"},
        ),
    ],
)
def test_the_resource(environ, found):
    assert resource("fraud", environ) == found


@pytest.mark.parametrize(
    "environ", [{"OTEL_SDK_DISABLED": "TRUE"}, {"OTEL_TRACES_EXPORTER": "none"}]
)
def test_the_usual_variables_switch_it_off(environ):
    assert not are_exported(Traces(endpoint="http://a"), environ)
    assert not are_exported(Traces(), {})
