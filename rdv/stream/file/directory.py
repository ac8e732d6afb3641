"""A stream is a directory with a `stream.toml`: make one, and read its settings."""

from __future__ import annotations

import logging
import posixpath

from rdv.coded import coded
from rdv.stream.config import StreamConfig, dump_config, load_config
from rdv.stream.errors import InvalidAddress, StreamExists, StreamNotFound
from rdv.stream.file import layout
from rdv.stream.file.board import Board
from rdv.system.disk import Disk
from rdv.system.faults import faults

log = logging.getLogger("rdv.stream")


def normal_path(path: str) -> str:
    """Return a path without a trailing slash or `..`, as it appears in errors."""
    return posixpath.normpath(path)


def make_stream(disk: Disk, path: str, config: StreamConfig | None = None) -> None:
    """Make a stream's directory. Raises StreamExists, InvalidAddress and SystemFaults.

    `stream.toml` comes last and complete: a directory that has it is a stream. Where it has been
    lost it is written anew; without `config` nothing is deleted by retention then.
    """
    config_path = f"{path}/{layout.CONFIG_FILE}"
    is_there = disk.is_directory(f"{path}/{layout.DOORBELLS}")
    if config is None:
        config = StreamConfig(retention_ms=None) if is_there else StreamConfig()
    disk.file_mode = config.file_mode
    with faults(path, "make a stream in"):
        if disk.is_file(config_path):
            raise StreamExists(path)
        if is_there:
            text = "%s: the stream's settings are missing: they are written anew"
            log.warning(text, path, extra=coded("settings_rewritten"))
        elif disk.is_directory(path):
            strange = [n for n in sorted(disk.list_directory(path)) if not _is_ours(n)]
            if strange:
                raise InvalidAddress(path, f"the directory is no stream and holds {strange[0]!r}")
        disk.mkdir(f"{path}/{layout.GROUPS}")
        disk.apply_mode(path, layout.DOORBELLS)  # the directory may have existed before
        Board(disk, path).close()
        disk.replace_file(config_path, dump_config(config).encode(), durable=True)
        disk.sync_directory(posixpath.dirname(path) or ".")


def _is_ours(name: str) -> bool:
    """Return whether a stream that is being made may have left a file of this name."""
    return name.startswith((".", f"{layout.CONFIG_FILE}."))


def read_config(disk: Disk, path: str) -> StreamConfig:
    """Read the settings of the stream at `path`. Raises StreamNotFound and InvalidConfig."""
    config_path = f"{path}/{layout.CONFIG_FILE}"
    with faults(path, "open"):
        try:
            data = disk.read_file(config_path)
        except FileNotFoundError:
            reason = "not a directory" if disk.exists(path) else "no such directory"
            if disk.is_directory(path):
                reason = f"the directory has no {layout.CONFIG_FILE}"
            raise StreamNotFound(path, reason) from None
    return load_config(data, config_path)
