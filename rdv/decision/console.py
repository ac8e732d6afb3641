"""The section [console] of rdv.toml: what the console's page shows, and whether it may write."""

from __future__ import annotations

from typing import Annotated

import msgspec

from rdv.decision.sections import live


class Console(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Configures the console (`rdv console`)."""

    hidden_fields: Annotated[
        list[str],
        live(
            "Fields of the data that the page does not show, however deep: "
            '["card", "address.street"]'
        ),
    ] = []
    allow_writes: Annotated[
        bool, live("Whether the page may write: save a schedule, tell the outcome of a request")
    ] = False
