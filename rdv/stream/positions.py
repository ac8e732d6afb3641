"""Where a consumer is in each of its partitions, and how it reads on from there."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from rdv.errors import RdvError
from rdv.stream.backend import EMPTY, NOTHING, Backend, News, Reader
from rdv.stream.errors import RecordsLost
from rdv.stream.record import Block, TopicPartition

READ_BYTES_MAX = 64 * 1024 * 1024


@dataclass(slots=True)
class Position:
    """Where we are in one partition; `offset` is the next to be handed out."""

    place: TopicPartition
    offset: int
    reader: Reader
    since: int
    """The generation in which it became ours; 0 without a group."""
    incarnation: object
    """Of its topic: another one has other records."""
    tick: slice | None
    """Where in the backend's news it says that there is something new."""
    seen: object = None
    """What it said when we had read all there was; None when we have not."""


class Positions:
    """A consumer's positions. One thread at a time."""

    def __init__(self, backend: Backend) -> None:
        self.by_place: dict[TopicPartition, Position] = {}
        self._backend = backend
        self._order: list[Position] | None = None
        self._turn = 0
        self._open: dict[TopicPartition, None] = {}
        """Those whose files may be open, the one opened longest ago first."""
        self._fault: RdvError | None = None
        """What stopped a read that had something to hand out; the next one raises it."""

    def drop_all_but(
        self, claims: Mapping[TopicPartition, tuple[int, object]]
    ) -> list[TopicPartition]:
        """Give up each position whose (since, incarnation) is another now; returns their places."""
        dropped = [
            place
            for place, position in self.by_place.items()
            if claims.get(place) != (position.since, position.incarnation)
        ]
        for place in dropped:
            self.by_place.pop(place).reader.close()
            self._open.pop(place, None)
        self._order = None
        return dropped

    def add(
        self,
        place: TopicPartition,
        first_offset: Callable[[TopicPartition], int],
        since: int,
        incarnation: object,
    ) -> Position:
        """Read this partition too, for which `Backend.make_readable` has been called: a recovery
        changes where the partition begins and ends.
        """
        reader = self._backend.reader(place)
        tick = self._backend.tick_of(place)
        position = Position(place, first_offset(place), reader, since, incarnation, tick)
        self.by_place[place] = position
        self._order = None
        return position

    def read(
        self, max_records: int, news: News, *, everywhere: bool = False
    ) -> tuple[list[Block], bool]:
        """What comes next, and whether that was all there is. Partitions take turns; those of
        which `news` have nothing new are left alone, unless it is to look `everywhere`.

        Raises RecordsLost, RecordsDamaged and SystemFaults; what was read before the fault is
        handed out first.
        """
        if self._fault is not None:
            fault, self._fault = self._fault, None
            raise fault
        blocks: list[Block] = []
        room, room_bytes, is_all = max_records, READ_BYTES_MAX, True
        for position in self._in_turn():
            tick = None if position.tick is None else news[position.tick]
            if tick is not None and tick == position.seen and not everywhere:
                continue
            position.seen = None
            block = self._read(position, room, room_bytes, blocks)
            if position.reader.is_drained:
                position.seen = tick  # what has come since will have changed it
            else:
                is_all = False
            if everywhere and not block:
                position.reader.notice_deletion()
            if block:
                blocks.append(block)
                room -= len(block)
                room_bytes -= len(block.data)
            if room <= 0 or room_bytes <= 0 or self._has_failed():
                return blocks, False
        return blocks, is_all

    def _in_turn(self) -> list[Position]:
        """Another partition begins each time."""
        order = self._order
        if order is None:
            order = self._order = [self.by_place[place] for place in sorted(self.by_place)]
        if len(order) > 1:
            self._turn = first = (self._turn + 1) % len(order)
            order = order[first:] + order[:first]
        return order

    def _read(
        self, position: Position, max_records: int, max_bytes: int, before: list[Block]
    ) -> Block:
        """What comes next in one partition; passes over what a repair has given up."""
        while True:
            was = position.offset
            block = self._read_on(position, max_records, max_bytes, before)
            if block or position.offset == was or self._fault is not None:
                return block

    def _read_on(
        self, position: Position, max_records: int, max_bytes: int, before: list[Block]
    ) -> Block:
        reader = position.reader
        if not reader.is_open:
            if not reader.has_more(position.offset):
                return NOTHING
            self._make_room(position.place)
        try:
            block = reader.read(position.offset, max_records, max_bytes)
        except RdvError as error:
            if isinstance(error, RecordsLost):
                position.offset = error.last_offset + 1
            if not before:
                raise
            self._fault = error
            return EMPTY
        if block:
            position.offset = block.offsets[-1] + 1
        elif block is not NOTHING:
            position.offset = max(position.offset, reader.skip_to())
        return block

    def _has_failed(self) -> bool:
        return self._fault is not None

    def _make_room(self, place: TopicPartition) -> None:
        """Keep no more partitions open than allowed: the one opened longest ago goes first."""
        self._open.pop(place, None)
        self._open[place] = None
        while len(self._open) > self._backend.config.open_partitions_max:
            oldest = next(iter(self._open))
            del self._open[oldest]
            if oldest in self.by_place:
                self.by_place[oldest].reader.close()

    def close(self) -> None:
        """Close the files."""
        for position in self.by_place.values():
            position.reader.close()
