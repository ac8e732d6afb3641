"""Open a decision's streams that the evaluation reads."""

from __future__ import annotations

import os
from typing import Self

from rdv.analysis.errors import NothingRecorded
from rdv.rendezvous.topology import INPUT
from rdv.stream import open_stream
from rdv.stream.errors import StreamNotFound
from rdv.stream.files import FileStream, files_of


class Recorded:
    """The open streams of a decision, for reading. Raises NothingRecorded without an input."""

    def __init__(self, directory: str) -> None:
        self.directory = directory
        self._open: dict[str, FileStream | None] = {}
        if self.stream(INPUT) is None:
            raise NothingRecorded(directory)

    def stream(self, name: str) -> FileStream | None:
        """Return one of the streams; None if it was never made."""
        if name not in self._open:
            self._open[name] = _opened(os.path.join(self.directory, name))
        return self._open[name]

    def close(self) -> None:
        for stream in self._open.values():
            if stream is not None:
                stream.close()
        self._open.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _opened(path: str) -> FileStream | None:
    try:
        stream = open_stream(path, look=True)
    except StreamNotFound:
        return None
    return files_of(stream)
