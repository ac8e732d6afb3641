"""The section [console] of rdv.toml: what the console's page shows, and whether it may write."""

from __future__ import annotations

from typing import Annotated

import msgspec

from rdv.decision.sections import PORT_MAX, live, on_serve

PORT_AFTER = 80
"""How far the console's port is from the first proxy's, where none is set."""


class Console(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Configures the console (`rdv console`)."""

    enabled: Annotated[
        bool, on_serve("Whether rdv serve starts the console: the page, and /metrics")
    ] = True
    host: Annotated[
        str, on_serve("Address of the console; others than loopback need http.hosts")
    ] = "127.0.0.1"
    port: Annotated[
        int, on_serve("Port of the console; 0: the first proxy's port + 80", 0, PORT_MAX)
    ] = 0
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

    def port_beside(self, first_port: int) -> int:
        """Return the console's port, for the port of the first proxy."""
        if self.port:
            return self.port
        port = first_port + PORT_AFTER
        return port if port <= PORT_MAX else first_port - PORT_AFTER
