"""Splits the bytes of a pipe into lines of bounded length. Pure."""

from __future__ import annotations

LINE_BYTES_MAX = 16 * 1024
_CUT = "… (the rest of this line was left out)"


class LineSplitter:
    """Collects bytes and returns complete lines; a line that is too long is cut."""

    def __init__(self, line_bytes_max: int = LINE_BYTES_MAX) -> None:
        self._max = line_bytes_max
        self._rest = b""
        self._is_skipping = False

    def feed(self, data: bytes) -> list[str]:
        """Return the lines that `data` completes."""
        *complete, self._rest = (self._rest + data).split(b"\n")
        lines = [self._shown(line) for line in complete]
        if complete and self._is_skipping:
            # The end of a line that was cut and returned already.
            del lines[0]
            self._is_skipping = False
        if len(self._rest) > self._max:
            if not self._is_skipping:
                lines.append(self._shown(self._rest))
            self._is_skipping = True
            self._rest = b""
        return lines

    def end(self) -> list[str]:
        """Return the rest when the pipe has ended."""
        rest, self._rest = self._rest, b""
        return [self._shown(rest)] if rest and not self._is_skipping else []

    def _shown(self, line: bytes) -> str:
        text = line[: self._max].decode("utf-8", "backslashreplace").rstrip("\r")
        return text + _CUT if len(line) > self._max else text
