"""Shard 0 of the click model: a process of its own, with its own share of the ads."""

from __future__ import annotations

from click_model import open_shard

predict, version = open_shard("shard-0")
