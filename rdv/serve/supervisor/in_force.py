"""Keep the settings in force: read edits, publish what is valid, say which processes are to run."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection
from dataclasses import replace

import msgspec

from rdv import toml_text
from rdv.clock import SYSTEM_CLOCK
from rdv.coded import ShowLine
from rdv.decision import Decision
from rdv.decision.accepted import (
    Accepted,
    accept_edit,
    changed_keys,
    identity_of,
    publish,
    read_published,
    undeclared_models,
)
from rdv.decision.changes import changes_of, refusal_of
from rdv.decision.events import Event, text_hash
from rdv.decision.files import Stamps
from rdv.decision.load import read_text
from rdv.errors import RdvError
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
        self.record: Callable[[Event], None] = lambda _: None
        """Records an event."""
        self.announce: Callable[[Event], None] = lambda event: self.show(event.message)
        """Shows and records an event."""
        self.author: Callable[[str], Event | None] = lambda _: None
        """Returns the event of the command that has written a text, by its hash."""
        self.scaler = Scaler(lambda: self.decision, SYSTEM_CLOCK, self._scaled)
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
            self._publish_first()
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
                text = f"{fault.text}; nothing is changed by it"
                self.announce(self._with_author(refusal_of(fault._replace(text=text)), now))
        for key in now.pending:
            if key not in before.pending:
                text = f"{key} has changed: that takes effect at the next start"
                waits = Event(kind="settings_waiting", message=text, about=key)
                self.announce(self._with_author(waits, now))
        self._warn_of_undeclared(before, now)
        if not now.is_same(before):
            self._revision += 1
            if changed := _changes(before, now):
                self.show(f"in force now: {', '.join(changed)}")
            for event in changes_of(before, now):
                self.record(self._with_author(event, now))
        return is_ours

    def _publish_first(self) -> None:
        """Publish the settings at the start; record what was edited since they were served last."""
        try:
            before = read_published(self.decision.directory)
        except RdvError:  # it has never been served
            before = self.accepted
        self._publish(self.accepted)
        for event in changes_of(before, self.accepted):
            text = f"edited while it was not served: {event.message}"
            found = msgspec.structs.replace(event, message=text)
            self.record(self._with_author(found, self.accepted))
        for fault in self.accepted.faults:
            self.record(self._with_author(refusal_of(fault), self.accepted))

    def _with_author(self, event: Event, now: Accepted) -> Event:
        """Return the event with the command that has made the edit, if one has."""
        name = os.path.basename(event.about).removesuffix(".toml")
        try:
            if event.about == now.decision.schedule_path(name) and event.after:
                text = now.texts[name]
            elif event.about == now.decision.schedule_path(name):
                text = toml_text.read(event.about)
            else:
                text = read_text(now.decision.directory)
        except (RdvError, OSError, KeyError, toml_text.NotToml):
            text = ""
        found = self.author(text_hash(text))
        if found is None:
            return msgspec.structs.replace(event, by="an edit")
        return msgspec.structs.replace(event, by=found.by, user=found.user, pid=found.pid)

    def _scaled(self, line: str) -> None:
        model = line.partition(":")[0]
        self.announce(Event(kind="scaled", message=line, about=model, model=model))

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
