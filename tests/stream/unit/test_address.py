import pytest

from rdv.stream import open_stream
from rdv.stream.address import Address, parse_address
from rdv.stream.errors import InvalidAddress, InvalidName


@pytest.mark.parametrize(
    ("text", "with_topic", "expected"),
    [
        ("fraud/input", False, Address("file", "fraud/input")),
        ("fraud/input", True, Address("file", "fraud/input")),
        ("fraud/input:requests", True, Address("file", "fraud/input", "requests")),
        ("fraud/input:requests", False, Address("file", "fraud/input:requests")),
        ("odd:path:", True, Address("file", "odd:path")),
        ("odd:path:topic", True, Address("file", "odd:path", "topic")),
        ("memory:x", True, Address("memory", "x")),
        ("memory:x:t", True, Address("memory", "x", "t")),
        ("memory:x:t", False, Address("memory", "x:t")),
        ("kafka://host:9092/prefix", True, Address("kafka", "host:9092/prefix")),
        ("/", False, Address("file", "/")),
    ],
)
def test_an_address_is_read(text, with_topic, expected):
    assert parse_address(text, with_topic=with_topic) == expected


@pytest.mark.parametrize("text", ["", "a\0b", "memory:", ":topic", "memory::topic"])
def test_a_bad_address_is_refused(text):
    with pytest.raises(InvalidAddress) as caught:
        parse_address(text, with_topic=True)
    assert caught.value.address == text
    assert caught.value.hint()


@pytest.mark.parametrize("text", ["path:..", "path:a b", "memory:x:-t"])
def test_a_bad_topic_in_an_address_is_refused(text):
    with pytest.raises(InvalidName):
        parse_address(text, with_topic=True)


def test_a_backend_that_is_not_there_says_so():
    with pytest.raises(InvalidAddress):
        open_stream("kafka://localhost:9092")
