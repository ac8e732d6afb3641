"""Show a stream's settings, in JSON and to people."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from rdv.commands.units import format_duration, format_size

if TYPE_CHECKING:
    from rdv.stream.config import StreamConfig

_MS_NS = 1_000_000


def settings_row(config: StreamConfig) -> dict[str, Any]:
    """Return the settings under their names in stream.toml; null means no limit."""
    return asdict(config)


def settings_lines(config: StreamConfig) -> list[tuple[str, str]]:
    """Return (name, value) of every setting, the values with units."""
    return [(name.rsplit("_", 1)[0] if name.endswith("_ms") else name, _value(name, value))
            for name, value in asdict(config).items()]  # fmt: skip


def describe_settings(config: StreamConfig) -> str:
    """Return the settings that matter most, on one line."""
    fsync = config.fsync
    if fsync == "interval":
        fsync_text = f"every {format_duration(config.fsync_interval_ms * _MS_NS)}"
    else:
        fsync_text = fsync
    return (
        f"{config.partitions} partition{'s' * (config.partitions != 1)} per topic, "
        f"segments of {format_size(config.segment_bytes)}, "
        f"retention {_retention(config)}, fsync {fsync_text}"
    )


def _retention(config: StreamConfig) -> str:
    time_text = _value("retention_ms", config.retention_ms)
    if config.retention_bytes is None:
        return time_text
    return f"{time_text} and {format_size(config.retention_bytes)} per partition"


def _value(name: str, value: Any) -> str:
    if value is None:
        return "forever" if name == "retention_ms" else "unlimited"
    if name.endswith("_ms"):
        return format_duration(value * _MS_NS)
    if name.endswith(("_bytes", "_bytes_max")):
        return format_size(value)
    return str(value)
