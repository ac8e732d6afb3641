from collections.abc import Sequence
from mmap import mmap
from typing import Literal

version: int

def append(
    lock_fd: int,
    values_fd: int,
    index_fd: int,
    values: Sequence[bytes],
    index_size: int,
    end: int,
    crc: int,
    time_ns: int,
    now_ns: int,
    end_max: int,
    index_size_max: int,
    roll_at_ns: int,
    /,
) -> tuple[int, int, int, int] | None: ...
def read(
    index_fd: int,
    values_fd: int,
    number: int,
    start: int,
    crc: int,
    max_records: int,
    max_bytes: int,
    /,
) -> tuple[int, list[int], list[int], bytes, int, int, bool] | Literal[False] | None: ...
def announce(
    board: mmap,
    fd: int,
    states_at: int,
    masks_at: int,
    mask: int,
    bells: dict[int, int],
    tick_at: int,
    tick: int,
    /,
) -> list[int] | None: ...
def lines(data: bytes, stops: list[int], /) -> int: ...
def score_lines(
    ids: list[str], middles: list[bytes], results: list[bytes], /
) -> list[bytes] | None: ...
