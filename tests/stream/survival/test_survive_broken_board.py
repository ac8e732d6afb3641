"""Check that records arrive though the board is cut, deleted or overwritten meanwhile."""

from __future__ import annotations

import os

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from survival_children import Child, say
from survival_disks import QuietDisk
from survival_logs import TOPIC, open_log

from rdv.system.disk import Disk

SIZE = 9_744


def echo(path, is_native):
    """Print each value that comes; wait for the next by a notification alone."""
    disk = Disk() if is_native else QuietDisk()
    with open_log(path, disk) as stream, stream.consumer([TOPIC]) as consumer:
        say("ready")
        while True:
            for record in consumer.poll(timeout=60):
                say(record.value.decode())


@pytest.fixture(scope="module", params=[True, False], ids=["native", "python"])
def echoing(tmp_path_factory, request):
    path = tmp_path_factory.mktemp("board") / "log"
    open_log(path).close()
    with Child("test_survive_broken_board", "echo", str(path), request.param) as child:
        assert child.expect() == "ready"
        with open_log(path, Disk() if request.param else QuietDisk()) as stream:
            yield path, stream, child


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    st.lists(
        st.one_of(
            st.just(("unlink",)),
            st.tuples(st.just("truncate"), st.integers(0, SIZE + 10)),
            st.tuples(st.just("write"), st.integers(0, SIZE), st.binary(min_size=1, max_size=600)),
            st.tuples(st.just("rename"), st.binary(max_size=100)),
        ),
        min_size=1,
        max_size=4,
    )
)
def test_any_damage_of_the_board_costs_no_record_and_no_process(echoing, deeds):
    path, stream, child = echoing
    board = path / ".doorbells" / "board"
    with stream.producer() as producer:
        for number, deed in enumerate(deeds):
            _harm(board, *deed)
            producer.send(TOPIC, b"%d" % number)
            assert child.expect() == str(number)
    assert child.process.poll() is None


def _harm(board, deed, *how):
    if deed == "unlink":
        board.unlink(missing_ok=True)
    elif deed == "truncate" and board.exists():
        os.truncate(board, *how)
    elif deed == "write" and board.exists():
        with board.open("r+b") as file:
            file.seek(how[0])
            file.write(how[1])
    elif deed == "rename":
        aside = board.with_name("aside")
        aside.write_bytes(how[0])
        aside.rename(board)


def test_a_deleted_fifo_is_made_anew_and_two_readers_never_share_one(tmp_path):
    path = tmp_path / "log"
    with open_log(path) as stream, stream.consumer([TOPIC]) as first:
        assert first.poll(timeout=0.01) == []
        (path / ".doorbells" / "0").unlink()
        with stream.consumer([TOPIC]) as second:
            assert second.poll(timeout=0.01) == []
            for _ in range(10):  # some 100 ms: then the first consumer checks its own FIFO
                first.poll(timeout=0.05)
            names = {p.name for p in (path / ".doorbells").iterdir() if p.name.isdigit()}
            assert len(names) == 2
        hear_nothing = first.poll(timeout=0.01)
        assert hear_nothing == []
