"""Check that a real proxy refuses foreign names and pages in all stages, and serves IPv6."""

from __future__ import annotations

import contextlib
import http.client
import os
import signal

import orjson
import pytest
from running import Decision, write_decision
from serving import SLOW, serving

from rdv.decision import InvalidDecision, load_decision, parse_decision
from rdv.serve.proxy.main import access_of

ORIGINS = 'origins = ["https://shop.example"]'
STAGES = {
    "in-process": "run_in_process(sys.argv[1])",
    "direct": "run_direct(sys.argv[1], 'gbm')",
}


def post(port, path="/v1/decide", body=b'{"data": {}}', method="POST", host="127.0.0.1", **headers):
    """Send exactly these headers; return the status, headers and JSON of the answer."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
        connection.putheader("Host", host)
        for name, value in headers.items():
            connection.putheader(name.replace("_", "-"), value)
        connection.putheader("Content-Length", str(len(body)))
        connection.endheaders(body)
        response = connection.getresponse()
        raw = response.read()
        return response.status, response.headers, orjson.loads(raw) if raw else None
    finally:
        connection.close()


def check_access(port):
    """Check what is promised about foreign names, foreign pages, media types and bodies."""
    json = {"Content_Type": "application/json"}
    assert post(port)[0] == 200  # without a type, as curl may send it
    assert post(port, Content_Type="application/x-www-form-urlencoded")[0] == 200
    assert post(port, host=f"localhost:{port}", **json)[0] == 200
    for path in ("/v1/decide", "/v1/outcomes", "/nowhere"):
        assert post(port, path, host="evil.example", **json)[0] == 421
        assert post(port, path, Origin="https://evil.example", **json)[0] == 403
        assert post(port, path, Origin="null", **json)[0] == 403
        assert post(port, path, Sec_Fetch_Site="cross-site", **json)[0] == 403
        preflight = {"Origin": "null", "Access_Control_Request_Method": "POST"}
        assert post(port, path, b"", "OPTIONS", **preflight)[0] == 403
    for path in ("/v1/decide", "/v1/outcomes"):
        for kind in ("text/plain; x=json", "multipart/form-data; boundary=json"):
            assert post(port, path, Content_Type=kind)[0] == 415
        own = {"Origin": f"http://127.0.0.1:{port}", "host": f"127.0.0.1:{port}"}
        assert post(port, path, **own)[0] == 415
        form = {"Content_Type": "application/x-www-form-urlencoded"}
        assert post(port, path, **own, **form)[0] == 415
        status, headers, answer = post(port, path, Content_Encoding="br", **json)
        assert (status, headers["Accept-Encoding"]) == (415, "gzip, deflate")
        for mark, name in ((b"\xef\xbb\xbf", "UTF-8"), (b"\xff\xfe", "UTF-16")):
            status, _, answer = post(port, path, mark + b"{}", **json)
            assert (status, answer["error"]["code"]) == (400, "malformed_json")
            assert f"byte-order mark of {name}" in answer["error"]["message"]
        assert "UTF-16" in post(port, path, "{}".encode("utf-16-le"))[2]["error"]["message"]
    for path in ("/livez", "/readyz"):
        assert post(port, path, b"", "GET", host="evil.example", Origin="null")[0] == 200
    shop = {"Origin": "https://shop.example"}
    status, headers, _ = post(
        port,
        "/v1/decide",
        b"",
        "OPTIONS",
        Access_Control_Request_Method="POST",
        Access_Control_Request_Headers="content-type",
        **shop,
    )
    assert (status, headers["Access-Control-Allow-Origin"]) == (204, shop["Origin"])
    assert headers["Access-Control-Allow-Headers"] == "content-type"
    status, headers, answer = post(port, **shop, **json)
    assert (status, headers["Access-Control-Allow-Origin"]) == (200, shop["Origin"])
    assert answer["kind"] in ("preferred", "fallback", "default")


@pytest.mark.parametrize("stage", STAGES)
def test_small_stages_refuse_what_a_proxy_refuses(tmp_path, stage):
    directory = tmp_path / "fraud"
    port = write_decision(directory, http=ORIGINS)
    (directory / "schedules" / "production.toml").write_text(SLOW)
    with serving(directory, port, STAGES[stage]):
        check_access(port)


def test_a_proxy_applies_new_hosts_and_origins(tmp_path):
    directory = tmp_path / "fraud"
    decision = Decision(directory, write_decision(directory, http=ORIGINS))
    try:
        decision.start("proxy-0")
        decision.await_ready()
        check_access(decision.port)
        text = (directory / "rdv.toml").read_text()
        edited = text.replace(ORIGINS, 'hosts = ["api.example"]\norigins = ["http://new.example"]')
        temporary = directory / "rdv.toml.new"
        temporary.write_text(edited)
        os.replace(temporary, directory / "rdv.toml")
        while post(decision.port, host="api.example:80")[0] == 421:  # until the test times out
            pass
        json = {"Content_Type": "application/json"}
        assert post(decision.port, Origin="http://new.example", **json)[0] == 200
        assert post(decision.port, Origin="https://shop.example", **json)[0] == 403
    finally:
        decision.close()


def decision_of(http):
    return parse_decision(f"[http]\n{http}", "fraud/rdv.toml", "fraud")


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "", "10.1.2.3", "machine.example", "fe80::1"])
def test_a_server_that_others_can_reach_has_to_name_its_hosts(host):
    with pytest.raises(InvalidDecision) as caught:
        access_of(decision_of(f'host = "{host}"'))
    assert caught.value.key == "http.hosts"
    assert 'hosts = ["shop.example"' in caught.value.reason
    access = access_of(decision_of(f'host = "{host}"\nhosts = ["shop.example"]'))
    assert {"localhost", "127.0.0.1", "[::1]", "shop.example"} <= access.hosts
    assert access.hosts.isdisjoint({"0.0.0.0", "[::]"})
    assert access_of(decision_of(f'host = "{host}"\nhosts = ["*"]')).hosts is None


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.9", "::1", "localhost"])
def test_a_server_on_loopback_needs_no_hosts(host):
    shown = f"[{host}]" if ":" in host else host
    assert shown in access_of(decision_of(f'host = "{host}"')).hosts


@pytest.mark.parametrize(
    ("setting", "key"),
    [
        ('hosts = ["http://shop.example"]', "http.hosts"),
        ('hosts = ["a b"]', "http.hosts"),
        ('origins = ["*"]', "http.origins"),
        ('origins = ["null"]', "http.origins"),
        ('origins = ["https://shop.example/"]', "http.origins"),
        ('host = "[::1]"', "http.host"),
    ],
)
def test_what_cannot_be_a_host_or_an_origin_is_named(setting, key):
    with pytest.raises(InvalidDecision) as caught:
        decision_of(setting)
    assert caught.value.key == key


def test_lists_come_from_the_environment_with_commas(tmp_path):
    (tmp_path / "rdv.toml").write_text("")
    decision = load_decision(str(tmp_path), {"RDV_HTTP_HOSTS": "a.example, b.example:1"})
    assert decision.http.hosts == ["a.example", "b.example:1"]


def test_an_ipv6_address_is_shown_in_brackets_and_answers(tmp_path):
    directory = tmp_path / "fraud"
    port = write_decision(directory, http='host = "::1"')
    with serving(directory, port) as process:
        assert any(f"http://[::1]:{port}" in line for line in process.said)
        connection = http.client.HTTPConnection("::1", port, timeout=60)
        with contextlib.closing(connection):
            connection.request("GET", "/readyz")
            assert connection.getresponse().status == 200
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
