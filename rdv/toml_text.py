"""Read TOML that people write: UTF-8, with or without a byte order mark, of a bounded size.

Pure except for `read`. Each caller turns `NotToml` into its own error, with the file's path.
"""

from __future__ import annotations

import tomllib
from typing import Any

BYTES_MAX = 1024 * 1024


class NotToml(ValueError):
    """A text cannot be used; its message says why, for a person."""


def read(path: str) -> str:
    """Return the text of a file, with its own line ends. Raises NotToml and OSError."""
    with open(path, "rb") as file:
        return decode(file.read(BYTES_MAX + 1))


def decode(data: bytes) -> str:
    """Return the text of a file's contents. Raises NotToml."""
    if len(data) > BYTES_MAX:
        raise NotToml(f"the file is larger than {BYTES_MAX:,} bytes")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise NotToml(f"line {line} is not UTF-8; save the file in that encoding") from None


def parse(text: str) -> dict[str, Any]:
    """Return the values of a TOML text. Raises NotToml."""
    try:
        return tomllib.loads(text)
    except RecursionError:
        raise NotToml("it is nested too deeply") from None
    except ValueError as error:  # TOMLDecodeError, and integers that are too long for int()
        raise NotToml(str(error)) from None
