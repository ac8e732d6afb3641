"""The default version of a model is a short hash of its files or its command."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence

_DIGITS = 12
_CHUNK_BYTES = 1024 * 1024


def file_version(path: str) -> str:
    """Return a hash of a file's bytes. Raises OSError."""
    digest = hashlib.sha256()
    _add_file(digest, path)
    return digest.hexdigest()[:_DIGITS]


def command_version(command: Sequence[str], directory: str) -> str:
    """Return a hash of a command's words and of the files in `directory` that they name.

    For `Rscript models/gbm.R` the script counts; Rscript itself, somewhere on the machine, does
    not. Raises OSError.
    """
    digest = hashlib.sha256()
    for word in command:
        digest.update(word.encode("utf-8", "surrogateescape") + b"\0")
        path = os.path.join(directory, word)
        if not os.path.isabs(word) and os.path.isfile(path):
            _add_file(digest, path)
    return digest.hexdigest()[:_DIGITS]


def _add_file(digest: hashlib._Hash, path: str) -> None:
    with open(path, "rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            digest.update(chunk)
