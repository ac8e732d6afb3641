"""Check settings: what is written is read back, and every bad value names its key."""

from dataclasses import asdict, fields

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rdv.stream import StreamConfig, create_stream, open_stream
from rdv.stream.config import dump_config, load_config
from rdv.stream.errors import InvalidConfig, StreamExists, StreamNotFound

POSITIVE = st.integers(1, 3_600_000)
CONFIGS = st.builds(
    StreamConfig,
    partitions=st.integers(1, 4096),
    segment_bytes=POSITIVE,
    retention_ms=st.none() | POSITIVE,
    retention_bytes=st.none() | POSITIVE,
    fsync=st.sampled_from(["none", "interval", "always"]),
    fsync_interval_ms=POSITIVE,
    record_bytes_max=POSITIVE,
    lock_timeout_ms=POSITIVE,
    open_partitions_max=st.integers(1, 100_000),
)
NUMBERS = [f.name for f in fields(StreamConfig) if f.name != "fsync"]
MAY_BE_NONE = {"retention_ms", "retention_bytes"}


@given(CONFIGS)
@settings(derandomize=True, deadline=None, database=None)
def test_what_is_dumped_is_loaded(config):
    assert load_config(dump_config(config).encode(), "x") == config


def test_every_key_is_dumped_with_a_comment():
    lines = dump_config(StreamConfig()).splitlines()
    for key in asdict(StreamConfig()):
        (number,) = [n for n, line in enumerate(lines) if line.startswith(f"{key} = ")]
        assert lines[number - 1].startswith("# ")


@pytest.mark.parametrize("key", NUMBERS)
@pytest.mark.parametrize("value", [0, -1, 10**19, True, "7", 1.5, [1]])
def test_a_bad_number_names_its_key(key, value):
    with pytest.raises(InvalidConfig) as caught:
        StreamConfig(**{key: value})
    assert caught.value.key == key


@pytest.mark.parametrize("key", NUMBERS)
def test_only_retention_can_be_without_a_limit(key):
    if key in MAY_BE_NONE:
        assert getattr(StreamConfig(**{key: None}), key) is None
    else:
        with pytest.raises(InvalidConfig):
            StreamConfig(**{key: None})


@pytest.mark.parametrize("value", ["", "sometimes", None, 1, ["none"]])
def test_a_bad_fsync_names_its_key(value):
    with pytest.raises(InvalidConfig) as caught:
        StreamConfig(fsync=value)
    assert caught.value.key == "fsync"


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("partitions = 0", "partitions"),
        ('partitions = "forever"', "partitions"),
        ('retention_ms = "unlimited"', "retention_ms"),
        ('retention_bytes = "forever"', "retention_bytes"),
        ("segment_size = 1", "segment_size"),
        ('fsync = "maybe"', "fsync"),
        ("partitions = ", "TOML"),
        ("[partitions]\na = 1", "partitions"),
    ],
)
def test_a_bad_file_names_itself_and_the_key(text, key):
    with pytest.raises(InvalidConfig) as caught:
        load_config(text.encode(), "a/stream.toml")
    assert (caught.value.where, caught.value.key) == ("a/stream.toml", key)


def test_an_existing_stream_keeps_its_settings(tmp_path):
    path = str(tmp_path / "s")
    with create_stream(path, StreamConfig(partitions=3)) as stream:
        assert stream.config.partitions == 3
    with open_stream(path, config=StreamConfig(partitions=5)) as stream:
        assert stream.config.partitions == 3
    with pytest.raises(StreamExists):
        create_stream(path)


def test_a_stream_that_is_not_there_is_made_only_when_asked_for(tmp_path):
    for path in (tmp_path / "missing", tmp_path):
        with pytest.raises(StreamNotFound):
            open_stream(str(path), create=False)
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(StreamNotFound):
        open_stream(f"memory:{tmp_path}", create=False)
