"""What all views share: the decision, its settings, its last requests, and what is hidden."""

from __future__ import annotations

import os
import time
from typing import Protocol

from rdv.analysis.dataset.places import Recorded
from rdv.console.page.hidden import Hider
from rdv.console.page.latest import Latest
from rdv.decision import Decision, load_decision


class HasDirectory(Protocol):
    """The part of the console that the views need."""

    @property
    def directory(self) -> str:
        """The decision's directory."""


class Site:
    """One decision, as the page shows it. Thread-safe."""

    def __init__(self, console: HasDirectory) -> None:
        self.console = console
        self.directory = os.path.abspath(console.directory)
        self.latest = Latest(self.directory)

    @property
    def name(self) -> str:
        """The name of the decision, for titles; that of its directory."""
        return os.path.basename(self.directory) or self.directory

    def decision(self) -> Decision:
        """Return the settings as they are now. Raises InvalidDecision, DecisionNotFound."""
        return load_decision(self.directory)

    def recorded(self) -> Recorded:
        """Open the streams for reading. Raises NothingRecorded."""
        return Recorded(self.directory)

    def hider(self, decision: Decision) -> Hider:
        """Return what hides the fields that `[console] hidden_fields` names."""
        return Hider(decision.console.hidden_fields)

    def now_ns(self) -> int:
        return time.time_ns()
