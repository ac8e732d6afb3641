"""Check how messages and URLs show addresses."""

from __future__ import annotations

import pytest

from rdv.decision.proxies import ProxyAddress
from rdv.http.authority import host_port, reachable_host
from rdv.serve.proxy.main import AddressTaken
from rdv.serve.supervisor.check import PortTaken


@pytest.mark.parametrize(
    ("host", "shown"),
    [("::1", "[::1]:81"), ("127.0.0.1", "127.0.0.1:81"), ("fe80::1%eth0", "[fe80::1%eth0]:81")],
)
def test_an_ipv6_address_is_in_brackets_wherever_it_is_shown(host, shown):
    assert host_port(host, 81) == shown
    assert str(ProxyAddress("fraud", host, 81)) == shown
    assert shown in AddressTaken(host, 81, "taken").text()
    assert shown in PortTaken(host, 81, "taken").text()


def test_a_wildcard_address_is_reached_at_loopback():
    assert [reachable_host(host) for host in ("0.0.0.0", "", "::", "10.0.0.1")] == [
        "127.0.0.1",
        "127.0.0.1",
        "::1",
        "10.0.0.1",
    ]
