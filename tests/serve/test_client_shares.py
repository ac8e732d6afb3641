"""Check that a real proxy answers others despite a greedy client and clients that leave."""

from __future__ import annotations

import contextlib
import select
import socket

import orjson
import pytest
from running import DEADLINE_S, Client, write_decision
from serving import SLOW, serving

INLINE = {"sla_ms": 60_000, "default": 0, "step": [{"accept": ["nobody"]}]}
BODY = orjson.dumps({"data": {}, "schedule": INLINE})
REQUEST = (
    b"POST /v1/decide HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    b"Content-Length: %d\r\n\r\n%b" % (len(BODY), BODY)
)
IN_FLIGHT_MAX, CONNECTIONS_MAX = 200, 60


@pytest.fixture
def port(tmp_path):
    directory = tmp_path / "fraud"
    http = f"in_flight_max = {IN_FLIGHT_MAX}\nconnections_max = {CONNECTIONS_MAX}"
    port = write_decision(directory, http=http)
    (directory / "schedules" / "production.toml").write_text(SLOW)
    with serving(directory, port) as process:
        yield port
        process.kill()  # a drain would wait a minute for the open requests


def greedy(port, connections, depth, source="127.0.0.2"):
    """Return connections that have sent `depth` requests each, which stay open for a minute."""
    found = []
    for _ in range(connections):
        connection = socket.socket()
        connection.settimeout(DEADLINE_S)
        connection.bind((source, 0))
        connection.connect(("127.0.0.1", port))
        connection.sendall(REQUEST * depth)
        found.append(connection)
    return found


def first_status(connection):
    return int(connection.recv(12).split(b" ")[1])


def test_one_client_cannot_take_the_last_part_of_what_may_be_in_flight(port):
    connections = greedy(port, 20, 20)
    try:
        # A connection whose requests are all refused shows that the share is used up.
        assert any(first_status(connection) == 429 for connection in connections[-1:])
        with Client(port) as other:
            for _ in range(10):
                status, answer = other.post({"data": {}})
                assert (status, answer["kind"]) == (200, "preferred")
    finally:
        for connection in connections:
            connection.close()


@pytest.mark.parametrize("depth", [20, 100])
@pytest.mark.parametrize("source", ["127.0.0.1", "127.0.0.2"])
def test_a_client_that_has_left_holds_no_place(port, depth, source):
    """The end of its input is at once readable, or lies behind requests that are not read yet."""
    with Client(port) as other:
        for _ in range(3):
            connections = greedy(port, 20, depth, source)
            first_status(connections[-1])  # 429: by now, the others have been read
            for connection in connections:
                connection.close()
            while (found := other.post({"data": {}}))[0] == 429:  # until the test times out
                pass
            assert found[1]["kind"] == "preferred"


def test_idle_connections_make_room_for_new_ones(port):
    idle = [socket.create_connection(("127.0.0.1", port), DEADLINE_S) for _ in range(200)]
    try:
        for _ in range(50):
            with Client(port) as other:
                assert other.post({"data": {}})[0] == 200
    finally:
        for connection in idle:
            connection.close()


def test_a_half_closed_client_gets_its_answers(port):
    body = b'{"data": {"gbm": "sleep"}}'
    request = REQUEST.replace(BODY, body).replace(b"%d" % len(BODY), b"%d" % len(body))
    (connection,) = greedy(port, 1, 0)
    with connection:
        connection.sendall(request * 5)
        connection.shutdown(socket.SHUT_WR)
        received = b""
        while data := connection.recv(65536):
            received += data
    assert received.count(b"HTTP/1.1 200 OK") == 5
    assert received.count(b'"kind":"preferred"') == 5


def large(port, count, size, source="127.0.0.2"):
    """Return connections that have sent one request each, with about `size` bytes of body."""
    body = orjson.dumps({"data": "x" * size, "schedule": INLINE})
    request = REQUEST.replace(BODY, body).replace(b"%d" % len(BODY), b"%d" % len(body))
    connections = greedy(port, count, 0, source)
    for connection in connections:
        connection.sendall(request)
    return connections


def test_the_bytes_of_open_requests_are_bounded_and_shared(tmp_path):
    """Few but large requests are refused as by a full proxy, and other clients still find room."""
    directory = tmp_path / "fraud"
    port = write_decision(directory, http="in_flight_bytes_max = 1000000")
    (directory / "schedules" / "production.toml").write_text(SLOW)
    with serving(directory, port) as process:
        connections = large(port, 10, 300_000)
        try:
            answered = select.select(connections, [], [], DEADLINE_S)[0]
            assert answered  # no model answers these: only a refusal can come
            refusal = answered[0].recv(65536)
            assert b" 429 " in refusal[:20]
            assert b'"in_flight_bytes_max":1000000' in refusal
            with Client(port) as other:
                status, answer = other.post({"data": {"note": "y" * 10_000}})
                assert (status, answer["kind"]) == (200, "preferred")
        finally:
            for connection in connections:
                connection.close()
        process.kill()


def test_a_request_that_is_larger_than_all_may_be_is_taken_alone(tmp_path):
    directory = tmp_path / "fraud"
    port = write_decision(directory, http="in_flight_bytes_max = 1000")
    with serving(directory, port), Client(port) as client:
        for _ in range(3):
            status, answer = client.post({"data": {"note": "y" * 10_000}})
            assert (status, answer["kind"]) == (200, "preferred")


def test_a_new_client_does_not_wait_behind_the_new_connections_of_another(port):
    """The test counts answers, not time: most of the other client's are still to come."""
    small = b'{"data":{}}'
    request = REQUEST.replace(BODY, small).replace(b"%d" % len(BODY), b"%d" % len(small))
    with socket.create_connection(("127.0.0.1", port), DEADLINE_S) as first:
        first.sendall(request)
        assert first_status(first) == 200
    flood = [socket.socket() for _ in range(30)]
    try:
        for connection in flood:
            connection.bind(("127.0.0.2", 0))
            connection.connect(("127.0.0.1", port))
            connection.sendall(request * 400)
        with Client(port) as other:
            assert other.get("/livez")[0] == 200
        answered = 0
        for connection in flood:
            connection.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                while data := connection.recv(1 << 20):
                    answered += data.count(b"HTTP/1.1 ")
        assert answered < 30 * 400 / 2
    finally:
        for connection in flood:
            connection.close()
