"""Notice that the directory of a stream has been deleted, or replaced by another one.

Processes that have opened the stream go on with the deleted files, where no other process finds
what they write. A deleted topic or partition is made again by the next write; a whole stream is
made by `rdv serve`, with its settings, so that all processes have to open it again.
"""

from __future__ import annotations

from rdv.decision import Decision
from rdv.decision.accepted import identity_of
from rdv.rendezvous.topology import STREAMS


class StreamDirectories:
    """The directories of a decision's streams as they were when this was made."""

    def __init__(self, decision: Decision) -> None:
        self.paths = [decision.stream_path(name) for name in STREAMS]
        self._directory = decision.directory
        self._first = self._identities()

    def _identities(self) -> dict[str, tuple[int, int]]:
        paths = [self._directory, *self.paths]
        return {path: identity_of(path) for path in paths}

    def replaced(self) -> list[str]:
        """Return the streams whose directory is not the first one; none if the decision has moved.

        Then its processes go on with the open files, wherever these are now.
        """
        now = self._identities()
        if now[self._directory] != self._first[self._directory]:
            return []
        return [path for path in self.paths if now[path] != self._first[path]]
