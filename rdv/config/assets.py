"""Finds the files that come with rdv: `sample-models` and `schedules`.

In a checkout they lie at the top of the repository, where people look for them; a wheel has them as
`rdv/assets/…`.
"""

from __future__ import annotations

import os
from typing import Literal

import rdv
from rdv.config.errors import AssetsMissing


def asset_directory(name: Literal["sample-models", "schedules"]) -> str:
    """Return the directory of files that come with rdv. Raises AssetsMissing."""
    package = os.path.dirname(os.path.abspath(rdv.__file__))
    installed = os.path.join(package, "assets", name)
    if os.path.isdir(installed):
        return installed
    checkout = os.path.join(os.path.dirname(package), name)
    if os.path.isdir(checkout):
        return checkout
    raise AssetsMissing(installed)
