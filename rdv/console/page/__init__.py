"""The console's page: a decision seen in a browser.

Server-rendered HTML with the layout of the `--html` reports; each view has its own address. The
views compute in threads, and never write unless `[console] allow_writes` is set.
"""

from __future__ import annotations

from rdv.console.page.routes import routes

__all__ = ["routes"]
