"""What the proxy has answered by itself, on record in its backstop topic; later, if not now."""

from __future__ import annotations

import logging
from collections import deque

from rdv.components.places import backstop_topic
from rdv.components.sending import send_fitting
from rdv.errors import InputFault
from rdv.messages import Result, encode_result
from rdv.stream import Producer

log = logging.getLogger("rdv.proxy")

KEPT_MAX = 20_000
"""Answers that wait for room on the disk; beyond, the oldest are lost, and counted."""


class OwnAnswers:
    """Writes them in batches; what cannot be written is kept and tried again. One thread."""

    def __init__(self, producer: Producer, proxy: str) -> None:
        self._producer = producer
        self._topic = backstop_topic(proxy)
        self._kept: deque[tuple[int, bytes]] = deque(maxlen=KEPT_MAX)
        self._fails = False
        self.lost = 0

    def __len__(self) -> int:
        return len(self._kept)

    def add(self, partition: int, result: Result) -> None:
        """To be written with the next `flush`."""
        self.lost += len(self._kept) == KEPT_MAX
        self._kept.append((partition, encode_result(result)))

    def flush(self) -> None:
        """Write what there is. Raises nothing."""
        if not self._kept:
            return
        by_partition: dict[int, list[bytes]] = {}
        for partition, line in self._kept:
            by_partition.setdefault(partition, []).append(line)
        self._kept.clear()
        failed = ""
        for partition, lines in by_partition.items():
            for number, error in send_fitting(
                self._producer, self._topic, lines, partition
            ).items():
                if isinstance(error, InputFault):  # it is too large, and will always be
                    self.lost += 1
                    log.error("an answer cannot be on record: %s", error.text())
                    continue
                failed = error.text()
                self._kept.append((partition, lines[number]))
        if failed and not self._fails:
            log.error("%d answers are not on record yet: %s", len(self._kept), failed)
        self._fails = bool(failed)

    def close(self) -> None:
        self.flush()
        if self._kept:
            log.error("%d answers are not on record", len(self._kept))
        self._producer.close()
