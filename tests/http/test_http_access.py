"""Check how foreign web pages and names are refused, and the headers that browsers get."""

from __future__ import annotations

import json
import re

import pytest
from http_kit import WebServer
from hypothesis import given
from hypothesis import strategies as st

from rdv.http import HttpServer, Router, make_access
from rdv.http.access import canonical_host, canonical_origin, is_loopback
from rdv.http.authority import parse_authority

SHOP = "https://shop.example"
ACCESS = make_access(
    ["localhost", "127.0.0.1", "[::1]", "api.example:8443"], [SHOP], ["/livez"], ["10.0.0.0/8"]
)


@pytest.fixture(scope="module")
def web():
    def echo(request):
        fault = request.json_fault
        if fault is not None:
            request.fail(fault)
        else:
            request.respond(200, request.body)

    ok = {"GET": lambda request: request.respond(200, b"1")}
    routes = {"/echo": {"POST": echo}, "/get": ok, "/livez": ok}
    web = AccessServer(Router(routes))
    yield web
    assert not web.errors
    web.stop()


class AccessServer(WebServer):
    def __init__(self, application, access=ACCESS):
        self._access = access
        super().__init__(application=application)

    def make_server(self, application, limits):
        return HttpServer(application, limits, self._access)


def ask(web, method="POST", target="/echo", host="localhost", body=b"{}", **headers):
    lines = [f"{method} {target} HTTP/1.1", f"Host: {host}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    lines += [f"Content-Length: {len(body)}", "", ""]
    with web.client() as client:
        client.send("\r\n".join(lines).encode("latin-1") + body)
        return client.answer(head_only=method == "HEAD")


JSON = "application/json"
FORM = "application/x-www-form-urlencoded"


@pytest.mark.parametrize(
    "host",
    [
        "localhost", "LocalHost", "localhost.", "localhost:8100", "localhost:1", "localhost:",
        "127.0.0.1", "127.0.0.1:8100", "[::1]", "[::1]:8100", "[0:0::0:1]:80", "api.example:8443",
        "API.example:8443",
    ],
)  # fmt: skip
def test_own_names_are_served(web, host):
    assert ask(web, host=host, Content_Type=JSON).status == 200
    assert ask(web, target=f"http://{host}/echo", host=host, Content_Type=JSON).status == 200


@pytest.mark.parametrize(
    "host",
    [
        "evil.example", "evil.example:8100", "127.0.0.1.evil.example", "localhost.evil.example",
        "notlocalhost", "127.0.0.2", "0.0.0.0", "[::]", "[::ffff:127.0.0.1]", "[::2]", "10.0.0.1",
        "api.example", "api.example:443", "2130706433", "localhost%2e", "127.1", "a_b",
    ],
)  # fmt: skip
@pytest.mark.parametrize("target", ["/echo", "/get", "/nowhere"])
def test_a_foreign_name_is_421_whatever_is_asked_for(web, host, target):
    for method in ("POST", "GET", "OPTIONS", "DELETE"):
        answer = ask(web, method, target, host, Content_Type=JSON)
        assert (answer.status, answer.code) == (421, "misdirected_request")
        assert b"access-control-allow-origin" not in answer.headers
    assert ask(web, "GET", "/livez", host, b"").status == 200
    absolute = f"http://{host}{target}"
    assert ask(web, target=absolute, host=host, Content_Type=JSON).status == 421
    assert ask(web, target=absolute, Content_Type=JSON).status == 421
    assert ask(web, target=f"http://localhost{target}", host=host).status == 421
    assert ask(web, "GET", f"http://{host}/livez", host, b"").status == 200


FOREIGN = [
    "null", "", "https://evil.example", "http://shop.example", "https://shop.example:8443",
    "https://shop.example.evil.example", "https://shop.example/", "http://localhost:3000",
    "http://127.0.0.1", "file://", "chrome-extension://abc", "https://shop.example, null", "*",
    "https://u@shop.example", "localhost", "//localhost", "ftp://localhost",
]  # fmt: skip


@pytest.mark.parametrize("origin", FOREIGN)
@pytest.mark.parametrize("target", ["/echo", "/get", "/nowhere"])
def test_a_foreign_page_is_403_whatever_it_asks_for(web, origin, target):
    for method in ("POST", "GET", "OPTIONS"):
        answer = ask(web, method, target, Origin=origin, Content_Type=JSON)
        assert (answer.status, answer.code) == (403, "foreign_origin")
        assert b"access-control-allow-origin" not in answer.headers
    preflight = ask(
        web, "OPTIONS", target, Origin=origin, Access_Control_Request_Method="POST", body=b""
    )
    assert preflight.status == 403
    assert ask(web, "GET", "/livez", body=b"", Origin=origin).status == 200


def test_pages_of_the_server_itself_may_call(web):
    for host, origin in [
        ("localhost", "http://localhost"),
        ("localhost:80", "http://localhost"),
        ("localhost", "http://LOCALHOST:80"),
        ("127.0.0.1:8100", "http://127.0.0.1:8100"),
        ("[::1]:8100", "http://[::1]:8100"),
        ("localhost", "https://localhost"),  # by a proxy that speaks TLS
        ("localhost:443", "https://localhost"),
    ]:
        answer = ask(web, host=host, Origin=origin, Content_Type=JSON, Sec_Fetch_Site="same-origin")
        assert answer.status == 200, (host, origin)
        assert b"access-control-allow-origin" not in answer.headers


@pytest.mark.parametrize("site", ["cross-site", "same-site", "", "cross-site, none", "CROSS-SITE"])
def test_what_the_browser_says_of_the_page_counts_without_an_origin(web, site):
    assert ask(web, "GET", "/get", body=b"", Sec_Fetch_Site=site).status == 403
    assert ask(web, Content_Type=JSON, Sec_Fetch_Site=site).status == 403
    own = {"Origin": "http://localhost", "Sec_Fetch_Site": site}
    assert ask(web, Content_Type=JSON, **own).status == 403
    assert ask(web, Content_Type=JSON, Origin=SHOP, Sec_Fetch_Site=site).status == 200
    assert ask(web, "GET", "/get", body=b"", Sec_Fetch_Site="none").status == 200


def test_a_listed_origin_gets_cors_headers(web):
    preflight = ask(
        web,
        "OPTIONS",
        body=b"",
        Origin=SHOP,
        Access_Control_Request_Method="POST",
        Access_Control_Request_Headers="content-type,idempotency-key",
        Access_Control_Request_Private_Network="true",
    )
    assert preflight.status == 204
    found = {k[15:]: v for k, v in preflight.headers.items() if k.startswith(b"access-control-")}
    assert found == {
        b"allow-origin": SHOP.encode(),
        b"allow-methods": b"POST",
        b"allow-headers": b"content-type,idempotency-key",
        b"allow-private-network": b"true",
        b"max-age": b"600",
    }
    assert preflight.headers[b"vary"] == b"Origin"
    for target, method, status in [
        ("/echo", "POST", 200),
        ("/get", "GET", 200),
        ("/get", "HEAD", 200),
        ("/livez", "GET", 200),
        ("/nowhere", "GET", 404),
        ("/echo", "DELETE", 405),
    ]:
        answer = ask(web, method, target, Origin=SHOP, Content_Type=JSON)
        assert answer.status == status
        assert answer.headers[b"access-control-allow-origin"] == SHOP.encode()
        assert b"access-control-max-age" not in answer.headers
    for refused in (
        ask(web, Origin=SHOP, Content_Type="text/plain"),
        ask(web, Origin=SHOP, Content_Type=JSON, Content_Encoding="br"),
        ask(web, Origin=SHOP, Content_Type=JSON, Expect="tea"),
        ask(web, Origin=SHOP, Content_Type=JSON, body=b"x" * 1_100_000),
    ):
        assert refused.status in (413, 415, 417)
        assert refused.headers[b"access-control-allow-origin"] == SHOP.encode()


def test_a_preflight_cannot_break_the_answer(web):
    answer = ask(
        web,
        "OPTIONS",
        body=b"",
        Origin=SHOP,
        Access_Control_Request_Method="POST x",
        Access_Control_Request_Headers="a\x80b",
    )
    assert answer.status == 204
    assert b"access-control-allow-methods" not in answer.headers
    assert b"access-control-allow-headers" not in answer.headers


TYPES = [
    (JSON, 200), ("Application/JSON", 200), ("application/json; charset=utf-8", 200),
    ("application/json;charset=UTF-8", 200), ('application/json; charset="utf-8"', 200),
    ('application/json ; charset="ut\\f-8"', 200), ("application/json;", 200),
    ("application/json; ;charset=utf-8", 200), ("application/json; v=1", 200),
    ("application/json; charset=latin-1", 415), ("application/json; charset=utf-16", 415),
    ("application/json; charset", 415), ("application/json; charset = utf-8", 415),
    ("application/json; charset=utf-8; charset=utf-8", 415), ("application/json x=utf-8", 415),
    ("application/json, text/plain", 415), ("application /json", 415), ("json", 415), ("", 415),
    ("application/jsonx", 415), ("application/x-json", 415), ("text/json", 415), ("*/*", 415),
    ("application/problem+json", 415), ("text/plain", 415), ("text/plain; x=json", 415),
    ("text/plain;application/json", 415), ("multipart/form-data; boundary=json", 415),
    ('text/plain; x="; application/json"', 415), (FORM + "; x=json", 415), ("text/xml", 415),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "status"), TYPES)
def test_media_types_are_compared_exactly(web, kind, status):
    answer = ask(web, Content_Type=kind)
    assert answer.status == status
    if status == 415:
        assert answer.code == "unsupported_media_type"
    assert ask(web, Content_Type=kind, Origin="http://localhost").status == status


def test_what_curl_says_is_taken_only_when_no_page_can_have_said_it(web):
    assert ask(web, Content_Type=FORM).status == 200
    assert ask(web).status == 200
    for page in ({"Origin": SHOP}, {"Origin": "http://localhost"}, {"Sec_Fetch_Site": "none"}):
        assert ask(web, Content_Type=FORM, **page).status == 415
        assert ask(web, **page).status == 415


def test_an_unknown_coding_is_415_and_says_what_is_taken(web):
    answer = ask(web, Content_Type=JSON, Content_Encoding="br")
    assert (answer.status, answer.code) == (415, "content_coding_unknown")
    assert answer.headers[b"accept-encoding"] == b"gzip, deflate"
    assert json.loads(answer.body)["error"]["content_encoding"] == "br"
    for fine in ("identity", "Identity", "", "identity, identity"):
        assert ask(web, Content_Type=JSON, Content_Encoding=fine).status == 200


def test_other_settings_count_at_once_also_on_an_open_connection(web):
    head = b"POST /echo HTTP/1.1\r\nHost: other.example\r\nContent-Length: 1\r\n\r\n1"
    other = AccessServer(Router({"/echo": {"POST": lambda r: r.respond(200, r.body)}}))
    try:
        with other.client() as client:
            client.send(head.replace(b"other.example", b"localhost"))
            assert client.answer().status == 200
            other.call(other.server.use, make_access(["other.example"]))
            client.send(head)
            assert client.answer().status == 200
            client.send(head.replace(b"other.example", b"localhost"))
            assert client.answer().status == 421
    finally:
        other.stop()


@pytest.mark.parametrize("text", ["", "a b", "http://a", "a:99999", "a/", "u@a", "[::1", "a,b"])
def test_a_host_that_cannot_be_one_is_refused(text):
    with pytest.raises(ValueError, match="HOST"):
        canonical_host(text)


@pytest.mark.parametrize("text", ["*", "null", "shop.example", "https://a/", "ftp://a", "https://"])
def test_an_origin_that_cannot_be_one_is_refused(text):
    with pytest.raises(ValueError, match="origin"):
        canonical_origin(text)


def test_settings_have_one_form():
    assert canonical_host("::1") == canonical_host("[0::1]") == "[::1]"
    assert canonical_host("Shop.Example.:80") == "shop.example:80"
    assert canonical_origin("HTTPS://Shop.Example:443") == SHOP
    assert [is_loopback(h) for h in ("127.9.9.9", "::1", "localhost")] == [True] * 3
    assert [is_loopback(h) for h in ("", "::", "0.0.0.0", "10.0.0.1", "shop")] == [False] * 5


# The rules of RFC 3986 and 9110 once more, as a reference for the parser.
REG_NAME = re.compile(r"(?:[a-z0-9\-._~!$&'()*+;=]|%[0-9a-f]{2})+", re.IGNORECASE | re.ASCII)


@given(st.text(st.sampled_from('aZ0.-_~%4e[]:@/ ,\t"#?x\x80'), max_size=12))
def test_authorities_are_as_the_rfc_says(text):
    name, colon, port = text.partition(":")
    is_name = REG_NAME.fullmatch(name) is not None and name != "."
    is_name = is_name and not name.endswith("..")
    digits = port == "" or (port.isascii() and port.isdecimal() and len(port) <= 5)
    is_port = not colon or (digits and (port == "" or 0 < int(port) <= 65535))
    found = parse_authority(text.encode("latin-1"))
    if not text.startswith("["):
        assert (found is not None) == (is_name and is_port)
    if found is not None:
        again = found.host if found.port is None else f"{found.host}:{found.port}"
        assert parse_authority(again.encode()) == found
