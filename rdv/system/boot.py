"""The boot id tells one run of the machine from the next."""

from __future__ import annotations

import ctypes
import sys
from uuid import UUID


def boot_id() -> bytes:
    """Return 16 bytes that change with every boot: a power loss only occurs between two."""
    if sys.platform == "darwin":
        return _darwin_boot_id()
    with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
        return UUID(file.read().strip()).bytes


def _darwin_boot_id() -> bytes:
    libc = ctypes.CDLL(None, use_errno=True)
    size = ctypes.c_size_t(64)
    buffer = ctypes.create_string_buffer(size.value)
    if libc.sysctlbyname(b"kern.bootsessionuuid", buffer, ctypes.byref(size), None, 0) != 0:
        raise OSError(ctypes.get_errno(), "sysctl kern.bootsessionuuid")
    return UUID(buffer.value.decode()).bytes
