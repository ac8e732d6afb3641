"""Check that waiting readers are notified, in order, and only of what they wait for."""

from __future__ import annotations

import mmap
import os
import select
import tempfile
import threading
import time
from contextlib import contextmanager, suppress

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from native_kit import PureDisk, python, quick

from rdv.stream.backend import WAKEUP_PRIORITIES
from rdv.stream.file import board as boards
from rdv.stream.file.board import EVERYTHING, SLOTS, Board, mask_of, number_of
from rdv.system.disk import Disk

STATES_AT, MASKS_AT, TICKS_AT, SIZE = (
    boards._STATES_AT,
    boards._MASKS_AT,
    boards._TICKS_AT,
    boards._SIZE,
)
MASK = mask_of("t", 0)
OTHERS = EVERYTHING ^ MASK


@contextmanager
def board_at(path, disk=None):
    board = Board(disk or Disk(), str(path))
    try:
        yield board
    finally:
        board.close()


def _part(board, start, size):
    return board._reading(start, start + size)()


def rung(fds):
    """Return how often each reader was notified, by number; empty the FIFOs."""
    found = {}
    for number, fd in enumerate(fds):
        with suppress(BlockingIOError):
            found[number] = len(os.read(fd, 4096))
    return found


def states_of(board):
    return bytes(board._reading(STATES_AT, MASKS_AT)())


def tick_of(board):
    at = TICKS_AT + number_of("t", 0) * 8
    return bytes(board._reading(at, at + 8)())


waiters = st.lists(
    st.tuples(
        st.sampled_from([0, *WAKEUP_PRIORITIES]),
        st.sampled_from([0, MASK, OTHERS, EVERYTHING]) | st.integers(0, EVERYTHING),
    ),
    max_size=7,
)


@quick
@given(waiters, waiters)
@example([(1, MASK), (0, MASK), (4, OTHERS)], [(2, EVERYTHING)])
def test_only_waiting_readers_of_the_topic_are_notified(native, first, second):
    """It runs twice: at first the extension knows no bell. It must notify as Python does."""
    ends = []
    for disk in (Disk(), PureDisk()):
        with tempfile.TemporaryDirectory() as place, board_at(place, disk) as board:
            slots = [board.take_slot() for _ in range(max(len(first), len(second)))]
            fds = [fd for _, fd in slots]
            announce = board.announcer("t", 0)
            seen = []
            for waiting in (first, second):
                for (slot, _), (order, mask) in zip(slots, waiting, strict=False):
                    board.set_mask(slot, mask)
                    if order:
                        board.set_waiting(slot, order)
                before, states = tick_of(board), states_of(board)
                announce(0)
                assert tick_of(board) != before
                found = rung(fds)
                for number, (slot, _) in enumerate(slots):
                    mask = int.from_bytes(_part(board, MASKS_AT + slot * 8, 8), "little")
                    is_meant = bool(states[slot] and mask & MASK)
                    assert found.get(number, 0) == is_meant
                    assert _part(board, STATES_AT + slot, 1)[0] == (0 if is_meant else states[slot])
                seen.append((found, states_of(board)))
            for slot, fd in slots:
                board.free_slot(slot, fd)
            ends.append(seen)
    assert ends[0] == ends[1]


def test_a_dead_readers_slot_is_cleared_and_its_fifo_removed(native, tmp_path):
    with board_at(tmp_path) as board:
        announce = board.announcer("t", 0)
        (dead, dead_fd), (slot, fd) = board.take_slot(), board.take_slot()
        for is_known in (False, True, True):
            for one in (dead, slot):
                board.set_mask(one, MASK)
                board.set_waiting(one, 1)
            announce(0)
            assert set(rung([fd])) == {0}
            assert states_of(board) == bytes(SLOTS)
            if not is_known:
                assert rung([dead_fd])
                os.close(dead_fd)
                # As left by a killed process: the FIFO is there without a reader.
                assert (tmp_path / ".doorbells" / str(dead)).exists()
        assert not (tmp_path / ".doorbells" / str(dead)).exists()
        board.free_slot(slot, fd)


def test_a_reader_in_a_dead_readers_slot_is_notified(native, tmp_path):
    with board_at(tmp_path) as board:
        announce = board.announcer("t", 0)
        slot, fd = board.take_slot()
        board.set_mask(slot, MASK)
        board.set_waiting(slot, 2)
        announce(0)
        os.close(fd)
        again, fd = board.take_slot()
        assert again == slot
        board.set_waiting(slot, 2)
        announce(0)
        assert rung([fd]) == {0: 1}
        board.free_slot(slot, fd)


@pytest.mark.parametrize("count", [63, 64, 65, 90])
def test_any_number_of_waiting_readers_is_notified(native, tmp_path, count):
    with board_at(tmp_path) as board:
        slots = [board.take_slot() for _ in range(count)]
        announce = board.announcer("t", 0)
        for _ in range(2):
            for slot, _ in slots:
                board.set_mask(slot, MASK)
                board.set_waiting(slot, 1 + slot % 4)
            announce(0)
            assert rung([fd for _, fd in slots]) == dict.fromkeys(range(count), 1)
            assert states_of(board) == bytes(SLOTS)
        for slot, fd in slots:
            board.free_slot(slot, fd)


class Bare:
    """Hold a board's bytes and bells of our own, for the extension alone."""

    def __init__(self, path, waiting):
        """Make the board; `waiting` has (slot, order, mask)."""
        data = bytearray(SIZE)
        for slot, order, mask in waiting:
            data[STATES_AT + slot] = order
            data[MASKS_AT + slot * 8 : MASKS_AT + slot * 8 + 8] = mask.to_bytes(8, "little")
        path.write_bytes(data)
        self.fd = os.open(path, os.O_RDWR)
        self.map = mmap.mmap(self.fd, SIZE, prot=mmap.PROT_READ)

    def announce(self, native, bells, mask=MASK, tick=77):
        return native.announce(self.map, self.fd, STATES_AT, MASKS_AT, mask, bells, TICKS_AT, tick)

    def waiting(self):
        return {slot for slot in range(SLOTS) if self.map[STATES_AT + slot]}

    def close(self):
        self.map.close()
        os.close(self.fd)


@quick
@given(
    st.lists(
        st.tuples(
            st.integers(0, SLOTS - 1),
            st.sampled_from(WAKEUP_PRIORITIES),
            st.sampled_from([MASK, OTHERS, EVERYTHING]),
        ),
        max_size=70,
        unique_by=lambda one: one[0],
    ),
    st.sampled_from([MASK, EVERYTHING]),
)
def test_readers_that_cannot_be_notified_are_returned_in_order(
    native, tmp_path_factory, waiting, mask
):
    """No bell is known: all of them are left to Python, in the order of the list."""
    bare = Bare(tmp_path_factory.mktemp("board") / "board", waiting)
    wanted = [s for _, s in sorted((o, s) for s, o, m in waiting if m & mask or mask == EVERYTHING)]
    assert bare.announce(native, {}, mask) == (wanted if len(wanted) <= 64 else None)
    assert bare.map[TICKS_AT : TICKS_AT + 8] == (77).to_bytes(8, "little")
    bare.close()


def test_readers_are_notified_in_priority_order(native, tmp_path):
    """The second bell blocks: by then only the reader in front of it has been notified."""
    bare = Bare(tmp_path / "board", [(5, 3, MASK), (7, 1, MASK), (6, 2, MASK), (8, 2, MASK)])
    pipes = {slot: os.pipe() for slot in (5, 6, 7, 8)}
    os.set_blocking(pipes[6][1], False)
    with suppress(BlockingIOError):
        while True:
            os.write(pipes[6][1], bytes(4096))
    os.set_blocking(pipes[6][1], True)
    left = []
    bells = {slot: write for slot, (_, write) in pipes.items()}
    thread = threading.Thread(target=lambda: left.append(bare.announce(native, bells)))
    thread.start()
    try:
        while 6 in bare.waiting():
            time.sleep(0.001)
        assert bare.waiting() == {5, 8}
        assert select.select([pipes[slot][0] for slot in (5, 7, 8)], [], [], 0)[0] == [pipes[7][0]]
    finally:
        while os.read(pipes[6][0], 65536) and thread.is_alive():
            thread.join(0.01)
    thread.join()
    assert left == [[]]
    assert bare.waiting() == set()
    for slot in (5, 8):
        assert os.read(pipes[slot][0], 9) == b"\1"
    bare.close()
    for ends in pipes.values():
        for fd in ends:
            os.close(fd)


def test_no_reader_is_notified_before_one_whose_doorbell_is_unknown(native, tmp_path):
    """Python opens the bell, and notifies the readers behind it, too."""
    bare = Bare(tmp_path / "board", [(1, 1, MASK), (2, 2, MASK), (3, 3, MASK), (4, 4, MASK)])
    read, write = os.pipe()
    assert bare.announce(native, {1: write, 2: write, 4: write}) == [3, 4]
    assert os.read(read, 9) == b"\1\1"
    assert bare.waiting() == {3, 4}
    bare.close()
    os.close(read)
    os.close(write)


def test_a_full_pipe_counts_as_notified_and_a_broken_one_is_returned(native, tmp_path):
    bare = Bare(tmp_path / "board", [(0, 1, MASK), (1023, 1, MASK), (9, 1, MASK)])
    full, broken, sound = os.pipe(), os.pipe(), os.pipe()
    os.set_blocking(full[1], False)
    with suppress(BlockingIOError):
        while True:
            os.write(full[1], bytes(4096))
    os.close(broken[0])
    assert bare.announce(native, {0: full[1], 9: broken[1], 1023: sound[1]}) == [9]
    assert bare.waiting() == set()
    assert os.read(sound[0], 9) == b"\1"
    bare.close()
    for fd in (*full, *sound, broken[1]):
        os.close(fd)


def test_an_unwritable_board_leaves_notifying_to_python(native, tmp_path):
    bare = Bare(tmp_path / "board", [(3, 1, MASK)])
    readonly = os.open(tmp_path / "board", os.O_RDONLY)
    read, write = os.pipe()
    found = native.announce(bare.map, readonly, STATES_AT, MASKS_AT, MASK, {3: write}, TICKS_AT, 1)
    assert found == [3]
    assert bare.waiting() == {3}
    bare.close()
    for fd in (readonly, read, write):
        os.close(fd)


def test_announcing_from_many_threads_notifies_every_reader(native, tmp_path):
    """All threads share one dictionary of bells: one thread opens a bell, the others use it."""
    with board_at(tmp_path) as board:
        slots = [board.take_slot() for _ in range(5)]
        fds = [fd for _, fd in slots]
        announcers = [board.announcer("t", 0) for _ in range(4)]
        for turn in range(15):
            for slot, _ in slots:
                board.set_mask(slot, MASK)
                board.set_waiting(slot, 1)
            if turn % 5 == 4:  # a reader dies in between
                slot, fd = slots[2]
                os.close(fd)
                (tmp_path / ".doorbells" / str(slot)).unlink()
                slots[2] = board.take_slot()
                fds[2] = slots[2][1]
            threads = [threading.Thread(target=announce, args=(0,)) for announce in announcers]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            assert set(rung(fds)) == set(range(5))
            assert states_of(board) == bytes(SLOTS)
        for slot, fd in slots:
            board.free_slot(slot, fd)


def test_a_board_is_closed_though_an_announcement_is_under_way(native, tmp_path):
    """The thread may be another one, or one that a forked child does not have."""
    board = Board(Disk(), str(tmp_path))
    with memoryview(board._map):  # as the extension holds it
        board.close()
    board.close()


def test_a_child_that_was_forked_while_others_announce_can_close(native, tmp_path):
    """The child notifies with bells of its own, and does not disturb others."""
    code = f"""
import os, sys, threading
from rdv.stream.file.board import Board
from rdv.system.disk import Disk
board = Board(Disk(), {str(tmp_path)!r})
stop = threading.Event()
announce = board.announcer("t", 0)
def work():
    while not stop.is_set():
        announce(0)
threads = [threading.Thread(target=work) for _ in range(3)]
for thread in threads: thread.start()
ends = []
for _ in range(12):
    child = os.fork()
    if not child:
        try:
            board.announcer("t", 1)(0)
            board.close()
        except BaseException as error:
            os.write(2, repr(error).encode())
            os._exit(1)
        os._exit(0)
    ends.append(os.waitpid(child, 0)[1])
stop.set()
for thread in threads: thread.join()
print(ends)
"""
    assert python("import warnings; warnings.simplefilter('ignore')\n" + code) == str([0] * 12)
