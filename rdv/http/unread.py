"""Checks for bytes that the kernel holds and the loop has not read yet."""

from __future__ import annotations

import asyncio
import fcntl
import sys
import termios


def has_unread(transport: asyncio.Transport) -> bool:
    """Return whether the client has sent unread bytes; False where that cannot be determined."""
    if transport.is_closing() or (socket := transport.get_extra_info("socket")) is None:
        return False
    try:
        count = fcntl.ioctl(socket.fileno(), termios.FIONREAD, b"\0\0\0\0")
    except OSError:
        return False
    return int.from_bytes(count, sys.byteorder) > 0
