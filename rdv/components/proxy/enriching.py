"""Manages the enricher: its file is loaded in a thread, and is used once it is loaded.

A file that cannot be loaded changes nothing: the one before stays, and a proxy that starts with it
passes its requests on unchanged.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable
from functools import partial

from rdv.components.proxy.enrich import Enrich, Enricher, forget_modules, load_enricher
from rdv.components.proxy.errors import EnricherNotLoaded
from rdv.config import Decision

log = logging.getLogger("rdv.proxy")

PATIENCE_S = 5.0
"""How long a starting proxy waits for its enricher, in seconds; then it serves without it until it
is loaded.
"""


class Enriching:
    """Loads enrichers, and passes each one to `take` when it is loaded; None removes it.

    For the loop's thread.
    """

    def __init__(self, take: Callable[[Enricher | None], None]) -> None:
        self.fault = ""
        """Why the configured enricher is not in use."""
        self._take = take
        self._wanted: Enricher | None = None
        self._is_there = False
        self._settled = asyncio.Event()

    def want(self, decision: Decision) -> None:
        """Load the enricher of these settings. A later call wins."""
        http = decision.http
        self._wanted, self.fault = None, ""
        if not http.enrich:
            self._put(None)
            return
        load = partial(load_enricher, decision.directory, http.enrich)
        enricher = Enricher(_anew(decision, load), http.enrich_timeout_ms, http.client_share)
        self._wanted = enricher
        self.fault = f"http.enrich = {http.enrich!r}: still being loaded"
        enricher.load(partial(self._loaded, enricher, http.enrich))

    def _loaded(self, enricher: Enricher, name: str, error: EnricherNotLoaded | None) -> None:
        if enricher is not self._wanted:  # edited meanwhile
            enricher.close()
            return
        self._settled.set()
        if error is None:
            self.fault = ""
            self._put(enricher)
            log.info("the enricher is %s", name)
            return
        enricher.close()
        self.fault = error.text()
        rest = "the one before stays" if self._is_there else "requests go on as they are"
        log.warning("%s; %s", self.fault, rest)

    def _put(self, enricher: Enricher | None) -> None:
        if enricher is None and self._is_there:
            log.info("the enricher is gone")
        self._is_there = enricher is not None
        self._settled.set()
        self._take(enricher)

    async def settled(self) -> None:
        """Wait for the first one, for PATIENCE_S at most."""
        try:
            await asyncio.wait_for(self._settled.wait(), PATIENCE_S)
        except TimeoutError:
            log.warning("%s; requests go on as they are until it is there", self.fault)

    def close(self) -> None:
        if self._wanted is not None:
            self._wanted.close()


def _anew(decision: Decision, load: Callable[[], Enrich]) -> Callable[[], Enrich]:
    """Return `load`, whose first call imports the modules beside the file anew."""
    folder = os.path.dirname(decision.path(decision.http.enrich.partition(":")[0]))
    is_first = True

    def loaded() -> Enrich:
        nonlocal is_first
        if is_first:
            is_first = False
            forget_modules(folder)
        return load()

    return loaded
