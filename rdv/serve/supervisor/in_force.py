"""Keep the settings in force: read edits, publish what is valid, say which processes are to run."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection
from dataclasses import replace

from rdv.clock import SYSTEM_CLOCK
from rdv.coded import ShowLine
from rdv.decision import Decision
from rdv.decision.accepted import (
    Accepted,
    accept_edit,
    changed_keys,
    identity_of,
    publish,
    undeclared_models,
)
from rdv.decision.files import Stamps
from rdv.serve.supervisor.plan import Part, parts
from rdv.serve.supervisor.scaler import Scaler

PROXIES_ENV = "env (for http.enrich)"
"""The key among those for the next start: a running process keeps its environment."""


class InForce:
    """The settings in force, and the processes that they require. For the supervisor's loop."""

    def __init__(self, accepted: Accepted, show: ShowLine) -> None:
        self.accepted = accepted
        self.elsewhere: Callable[[], Collection[str]] = tuple
        """Returns the models that run without being declared: `rdv model run`."""
        self.absent: Callable[[str], None] = lambda _: None
        """Called with models that a schedule names and that do not run: requests do not wait."""
        self.show = show
        self.scaler = Scaler(lambda: self.decision, SYSTEM_CLOCK, show)
        self._stamps = Stamps()
        self._published: Accepted | None = None
        self._revision = 0
        self._place = ""
        self._parts: list[Part] = []
        self._env = set(accepted.decision.env)
        """The environment variables that the proxies were started with."""

    @property
    def decision(self) -> Decision:
        return self.accepted.decision

    def wanted(self) -> list[Part]:
        """Read the files, publish what is valid of them, report the rest, and return the parts to
        run.

        Raises SystemFaults if the settings cannot be published: they are not in force then.
        """
        if self._published is None:
            self._publish(self.accepted)
        elif not self._take_over():
            return self._parts
        self.scaler.update(self.decision)
        for model in undeclared_models(self.accepted):
            self.absent(model)
        stamps = self._stamps.of(self.decision)
        # What is started must not depend on the working directory, or on a symlink.
        if not self._place:
            self._place = os.path.realpath(self.decision.directory)
        placed = self.decision.replace(directory=self._place)
        self._parts = parts(placed, stamps, self.scaler.counts(), str(self._revision))
        return self._parts

    def _take_over(self) -> bool:
        """False when another directory, or none, is where ours was: nothing changes by that."""
        before, now = self.accepted, accept_edit(self.accepted, self.elsewhere())
        now = self._with_environment(now)
        is_ours = identity_of(now.decision.directory) == now.identity
        if not is_ours:
            self.accepted = now  # the directory now holds another decision
        elif now != self._published:
            self._publish(now)
        for fault in now.faults:
            if fault not in before.faults:
                self.show(f"{fault.text}; nothing is changed by it", fault.code, fault.about)
        for key in now.pending:
            if key not in before.pending:
                self.show(f"{key} has changed: that takes effect at the next start")
        self._warn_of_undeclared(before, now)
        if not now.is_same(before):
            self._revision += 1
            if changed := _changes(before, now):
                self.show(f"in force now: {', '.join(changed)}")
        return is_ours

    def _with_environment(self, accepted: Accepted) -> Accepted:
        """Mark `env` as pending for proxies that run; models are replaced, so that it is live."""
        decision = accepted.decision
        if set(decision.env) == self._env or not decision.http.enrich:
            return replace(accepted, pending=tuple(k for k in accepted.pending if k != PROXIES_ENV))
        if PROXIES_ENV in accepted.pending:
            return accepted
        return replace(accepted, pending=(*accepted.pending, PROXIES_ENV))

    def _publish(self, accepted: Accepted) -> None:
        publish(accepted)
        self.accepted = self._published = accepted

    def _warn_of_undeclared(self, before: Accepted, now: Accepted) -> None:
        """Warn of a model that was removed, or retired, though a schedule names it."""
        elsewhere = set(self.elsewhere())
        for model in sorted(undeclared_models(now) - undeclared_models(before) - elsewhere):
            if model in before.decision.models:
                text = f"{model} is named by a schedule, but not started any more"
                self.show(text, "model_undeclared", model)


def _changes(before: Accepted, now: Accepted) -> list[str]:
    """Return the keys and schedules that have changed."""
    changed = changed_keys(before.decision, now.decision)
    for name in sorted({**before.schedules, **now.schedules}):
        old, new = before.schedules.get(name), now.schedules.get(name)
        if (old and old.label) != (new and new.label):
            changed.append(f"schedule {new.label if new else f'{name} (gone)'}")
    if before.enricher != now.enricher and "http.enrich" not in changed:
        changed.append("the file of http.enrich")
    if before.schema != now.schema and not any(key.startswith("schema.") for key in changed):
        changed.append("the file of [schema]")
    return changed
