"""Find out which command has made an edit, by what commands record in `control:commands`."""

from __future__ import annotations

import contextlib

from rdv.decision.events import Event, read_event
from rdv.errors import RdvError
from rdv.rendezvous.topology import COMMANDS_TOPIC
from rdv.stream import Stream, pass_over

EDITS_MAX = 1_000
"""How many edits are kept, the newest."""
_POLL_RECORDS = 500
_POLLS_MAX = 1_000


class Authors:
    """Keeps the commands of the newest edits by the hash of the text that they wrote.

    A command records its edit before it replaces the file, so that the record is found when the
    edit is seen. For the supervisor's loop.
    """

    def __init__(self, control: Stream) -> None:
        self._consumer = control.consumer([COMMANDS_TOPIC])
        self._edits: dict[str, Event] = {}

    def of(self, text_hash: str) -> Event | None:
        """Return the event of the command that has written this text; None if no command has."""
        self._read()
        return self._edits.get(text_hash)

    def _read(self) -> None:
        for _ in range(_POLLS_MAX):
            try:
                records = self._consumer.look(_POLL_RECORDS)
            except RdvError as error:
                with contextlib.suppress(RdvError):
                    if pass_over(self._consumer, error):
                        continue
                return
            if not records:
                return
            for record in records:
                event = read_event(record)
                if event is not None and event.kind == "file_edited" and event.after:
                    self._edits.pop(event.after, None)
                    self._edits[event.after] = event
            while len(self._edits) > EDITS_MAX:
                del self._edits[next(iter(self._edits))]

    def close(self) -> None:
        self._consumer.close()
