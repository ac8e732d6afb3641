"""A consumer keeps its position in each of its partitions here, and reads on from there."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from rdv.errors import RdvError
from rdv.stream.backend import EMPTY, NOTHING, Backend, News, Reader
from rdv.stream.errors import OffsetOutOfRange, RecordsDamaged, RecordsLost
from rdv.stream.record import Block, TopicPartition

READ_BYTES_MAX = 64 * 1024 * 1024


@dataclass(slots=True)
class Position:
    """A `Position` is the place in one partition; `offset` is the next to be read."""

    place: TopicPartition
    offset: int
    reader: Reader
    since: int
    """The generation in which the partition was assigned; 0 without a group."""
    incarnation: object
    """The incarnation of its topic: another one has other records."""
    tick: slice | None
    """The slice of the backend's news that is about this partition."""
    seen: object = None
    """The partition's news when all its records had been read; None when they have not."""
    behind_damage: int | None = None
    """The offset after the damage that was reported last."""


class Positions:
    """A `Positions` holds a consumer's positions. One thread at a time."""

    def __init__(self, backend: Backend) -> None:
        self.by_place: dict[TopicPartition, Position] = {}
        self._backend = backend
        self._order: list[Position] | None = None
        self._turn = 0
        self._open: dict[TopicPartition, None] = {}
        """The partitions whose files may be open, the one opened longest ago first."""
        self._fault: RdvError | None = None
        """The error that stopped a read after it had found records; the next read raises it."""

    def drop_all_but(
        self, claims: Mapping[TopicPartition, tuple[int, object]]
    ) -> list[TopicPartition]:
        """Drop each position whose (since, incarnation) has changed; returns their partitions."""
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
        """Read this partition too. `Backend.make_readable` must have been called before.

        A recovery changes where the partition begins and ends.
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
        """Return the next records, and whether there are no more of them.

        Partitions take turns. Those without new records according to `news` are skipped, unless
        `everywhere`. Raises RecordsLost, RecordsDamaged and SystemFaults; records that were read
        before the fault are returned first.
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
                position.seen = tick  # later commits will have changed it
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
        """Return the positions, beginning with another partition each time."""
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
        """Return the next records of one partition; skips offsets that a repair has given up."""
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
            elif isinstance(error, RecordsDamaged):
                position.behind_damage = error.last_offset + 1
            elif isinstance(error, OffsetOutOfRange):
                # The log was cut, or replaced by a shorter one: all that it has now was read.
                position.offset = min(max(position.offset, error.begin), error.end)
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
        """Keep no more partitions open than allowed: the one opened longest ago is closed first."""
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
