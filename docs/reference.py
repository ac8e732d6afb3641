"""The parts of reference pages that are made from the code; `docs/build.py` puts them in place."""

from __future__ import annotations

from collections.abc import Callable

INCLUDES: dict[str, Callable[[], str]] = {}
"""What `<!-- include NAME -->` stands for."""
