"""Pin the partitions of keys: a key must never move to another partition."""

import pytest

from rdv.stream.record import partition_of_key

GOLDEN = {
    b"": (0, 0, 0),
    b"a": (1, 2, 3651),
    b"user-42": (1, 0, 2163),
    b"\x00": (1, 2, 3981),
    "schlüssel".encode(): (0, 3, 1270),
    b"x" * 1000: (0, 0, 2534),
}


@pytest.mark.parametrize("key", GOLDEN, ids=lambda key: ascii(key)[:12])
def test_a_key_keeps_its_partition(key):
    assert tuple(partition_of_key(key, count) for count in (2, 5, 4096)) == GOLDEN[key]


def test_keys_spread():
    used = {partition_of_key(b"%d" % n, 16) for n in range(1000)}
    assert used == set(range(16))
