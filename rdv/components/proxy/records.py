"""Records the answers that the proxy gave itself in its backstop topic, at once or later."""

from __future__ import annotations

from rdv.components.outbox import Outbox
from rdv.components.places import backstop_topic
from rdv.messages import Result, encode_result


class OwnAnswers:
    """Writes them in batches; what cannot be written is kept and retried. One thread.

    The number of kept answers is bounded (`outbox.LINES_MAX`); beyond it, the oldest are lost, and
    counted.
    """

    def __init__(self, outbox: Outbox, proxy: str) -> None:
        self._topic = backstop_topic(proxy)
        self._outbox = outbox
        self._new: dict[int, list[bytes]] = {}

    def __len__(self) -> int:
        return sum(map(len, self._new.values())) + self._outbox.waiting

    @property
    def lost(self) -> int:
        return self._outbox.lost

    def add(self, partition: int, result: Result) -> None:
        """Add an answer, to be written with the next `flush`."""
        self._new.setdefault(partition, []).append(encode_result(result))

    def flush(self) -> None:
        """Write the new answers, or queue them. Returns at once, raises nothing."""
        if self._new:
            new, self._new = self._new, {}
            for partition, lines in new.items():
                self._outbox.send(self._topic, lines, partition)

    def close(self) -> None:
        self.flush()
        self._outbox.close()
