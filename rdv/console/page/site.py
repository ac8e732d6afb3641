"""What all views share: the decision, its settings, its last requests, and what is hidden."""

from __future__ import annotations

import os
import time

from rdv.analysis.dataset.places import Recorded
from rdv.console.console import Console
from rdv.console.page.hidden import Hider
from rdv.console.page.latest import Latest
from rdv.decision import Decision


class Site:
    """One decision, as the page shows it. Thread-safe."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.directory = os.path.abspath(console.directory)
        self.latest = Latest(self.decision)

    @property
    def name(self) -> str:
        """The name of the decision, for titles."""
        return self.console.name

    @property
    def folder(self) -> str:
        """The name of the decision's directory, for commands."""
        return os.path.basename(self.directory) or self.directory

    def decision(self) -> Decision:
        """Return the settings in force."""
        return self.console.decision

    def recorded(self) -> Recorded:
        """Open the streams for reading. Raises NothingRecorded."""
        return Recorded(self.directory)

    def hider(self, decision: Decision) -> Hider:
        """Return what hides the fields that `[console] hidden_fields` names."""
        return Hider(decision.console.hidden_fields)

    def now_ns(self) -> int:
        return time.time_ns()
