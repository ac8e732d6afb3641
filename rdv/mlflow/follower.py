"""Follows the aliases of a decision's models: asks the registry, downloads, asks the gate.

One thread of the process `mlflow` does all of that (`rdv.mlflow.main`). A server that does not
answer changes nothing: the models go on in the versions that they have.
"""

from __future__ import annotations

import json
import logging
import os
import random
import select
import sys
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

from msgspec.structs import replace

from rdv.coded import coded
from rdv.codes import EventCode
from rdv.decision import Decision, load_decision
from rdv.decision.decision import read_schedules
from rdv.decision.registry import (
    Asked,
    RegistryState,
    RegistryUri,
    read_state,
    registry_models,
    second_name,
)
from rdv.errors import RdvError
from rdv.mlflow.client import Registry, without_secrets
from rdv.mlflow.download import damage, download, prune
from rdv.mlflow.fetch import registry_of
from rdv.mlflow.follow import follow, is_to_judge, preferred
from rdv.mlflow.state import change_state
from rdv.mlflow.write_back import write_pending
from rdv.serve.process import Waker
from rdv.system.made_of import Hashes
from rdv.system.run import run_program

log = logging.getLogger("rdv.mlflow")

BACKOFF_MAX_S = 600.0
JITTER = 0.2
JUDGE_TIMEOUT_S = 900.0
WATCH_MARGIN_S = 3_600.0
"""How much longer than its watch `rdv promote` may take."""
POKE_DISTANCE_S, POKE_DISTANCE_MAX_S = 1.0, 60.0
"""The minimum time between two questions, however many webhooks arrive; doubled by each failure."""
ENOUGH = "pass"

Scored = Callable[[str], int]
"""Returns how many requests a model has scored since its processes were started."""


class Follower:
    """Follows all aliases of one decision. `run` is for a thread of its own."""

    def __init__(self, directory: str, scored: Scored, environ: Mapping[str, str]) -> None:
        self._directory = directory
        self._scored = scored
        self._environ = environ
        self._wake = threading.Event()
        self._stop = Waker()
        self._failures = 0
        self._known: dict[str, str] = {}
        """The last problem of each model, so that it is reported once."""
        self._checked: set[str] = set()
        """The models whose download was compared with the registry since the start."""
        self._hashes = Hashes()
        """Those of the downloaded files, which are not read again at each poll."""
        self.problem = ""
        """Why something cannot be followed now; for another thread to read."""
        self.polls = 0

    def poke(self) -> None:
        """Ask the registry soon: once for all calls until then. For any thread."""
        self._wake.set()

    def stop(self) -> None:
        """End `run` soon. For any thread."""
        self._stop.stop()
        self._wake.set()

    def run(self) -> None:
        """Ask again and again, until `stop`."""
        while not self._stop.stopping:
            try:
                delay_s = self.step()
            except RdvError as error:  # the decision itself cannot be read now
                self._report("", error.text(), "mlflow_not_followed", error.code())
                delay_s = self._delay_s(30_000)
            distance_s = min(self._distance_s(), delay_s)
            select.select([self._stop], [], [], distance_s)
            self._wake.wait(delay_s - distance_s)
            self._wake.clear()

    def step(self) -> float:
        """Ask once about every model; return after how many seconds to ask again.

        Raises RdvErrors of the configuration.
        """
        decision = load_decision(self._directory)
        if not self.polls:
            for line in check_downloads(decision):
                self._say("download_damaged", line)
        failed, wanted = False, registry_models(decision)
        self._known = {name: text for name, text in self._known.items() if name in wanted}
        for name, uri in wanted.items():
            if self._stop.stopping:
                break
            if decision.models[name].retired:
                continue
            try:
                self._follow(decision, name, uri)
            except RdvError as error:
                failed = True
                self._fails(decision, name, uri, error)
            else:
                if self._known.pop(name, ""):
                    log.info("%s: %s is followed again", name, uri)
        self.problem = next(iter(self._known.values()), "")
        self._failures = self._failures + 1 if failed else 0
        self.polls += 1
        return self._delay_s(decision.mlflow.poll_ms)

    def _delay_s(self, poll_ms: int) -> float:
        """Return the time until the next question: longer while the server fails, never regular."""
        delay_s = poll_ms / 1000 * 2.0 ** min(self._failures, 20)
        longest_s = max(BACKOFF_MAX_S, poll_ms / 1000)
        return min(delay_s, longest_s) * (1 + random.uniform(-JITTER, JITTER))  # noqa: S311

    def _distance_s(self) -> float:
        """Return the minimum time until the next question."""
        return min(POKE_DISTANCE_S * 2.0 ** min(self._failures, 20), POKE_DISTANCE_MAX_S)

    def _follow(self, decision: Decision, name: str, uri: RegistryUri) -> None:
        """Bring one model up to date. Raises what the registry raises, and SystemFaults."""
        state = read_state(self._directory, name)
        if state is None or state.uri != str(uri):
            state = RegistryState(uri=str(uri))
        is_new = not state.versions
        is_first = name not in self._checked
        if uri.version and not is_new and not is_first and not state.write_backs:
            return
        with registry_of(decision, str(uri), self._environ, state.tracking_uri) as registry:
            if state.write_backs:
                write_pending(registry, self._directory, name)
            if is_new or (decision.mlflow.follow and (uri.alias or is_first)):
                self._take(decision, name, uri, registry)
        self._checked.add(name)
        self._judge(decision, name)

    def _take(self, decision: Decision, name: str, uri: RegistryUri, registry: Registry) -> None:
        """Download the version that the alias names now, and record it."""
        found = registry.version_of(uri)
        schedules = read_schedules(self._directory).by_name
        live = schedules.get(decision.schedule)
        groups = (schedules.get(one.schedule) for one in decision.cohorts.groups.values())
        order = [one for one in (live, *groups) if one is not None]
        champion = preferred(order, (name, second_name(name)))
        if self._serves_elsewhere(decision, name, found.version, order):
            return
        limit = decision.mlflow.download_bytes_max
        download(registry, self._directory, found, limit, self._environ, self._hashes)
        now_ns = time.time_ns()

        def change(before: RegistryState | None) -> RegistryState:
            if before is None or before.uri != str(uri):
                address = without_secrets(registry.given)
                before = RegistryState(uri=str(uri), tracking_uri=address)
            if before.write_backs:  # the alias is not yet as the promotion says
                return before
            return follow(before, name, found.version, champion, now_ns)

        before = read_state(self._directory, name)
        after = change_state(self._directory, name, change)
        self._show_change(decision, uri, before, after)
        used = [
            one.version
            for one in load_decision(self._directory).registered.values()
            if one.version and one.uri.startswith(f"models:/{uri.name}")
        ]
        if prune(self._directory, uri.name, used, decision.mlflow.versions_kept):
            self._hashes = Hashes()  # it forgets the files that were deleted

    def _serves_elsewhere(
        self, decision: Decision, name: str, version: str, order: list[Any]
    ) -> bool:
        """Return whether another model of rdv.toml has this version, and the schedule prefers it.

        So it is after a promotion over this one, which has moved this one's alias.
        """
        wanted = decision.registered[name].uri.rpartition("@")[0]
        same = [
            one
            for one, found in decision.registered.items()
            if found.model != name
            and found.version == version
            and found.uri.rpartition("@")[0] == wanted
        ]
        if not same:
            return False
        first = preferred(order, [*same, name, second_name(name)])
        return first in same

    def _show_change(
        self,
        decision: Decision,
        uri: RegistryUri,
        before: RegistryState | None,
        after: RegistryState,
    ) -> None:
        asked = after.asked
        if asked is not None and (before is None or before.asked != asked):
            command = f"rdv promote {decision.directory} {asked.model} --over {asked.over}"
            self._say(
                "promotion_asked",
                f"{uri} is version {asked.version} now: it runs as {asked.model} beside "
                f"{asked.over}, and asks for a promotion: {command}",
            )
        elif before is None or before.versions != after.versions:
            now = ", ".join(f"{one} version {what}" for one, what in after.versions.items())
            log.info("%s: %s", uri, now)

    def _fails(self, decision: Decision, name: str, uri: RegistryUri, error: RdvError) -> None:
        versions = (read_state(decision.directory, name) or RegistryState(uri="")).versions
        has = " and ".join(f"{one} with version {what}" for one, what in versions.items())
        goes_on = f"{has} go on" if len(versions) > 1 else f"{has} goes on" if has else ""
        text = f"{uri} cannot be followed: {error.text()}"
        if hint := error.hint():
            text += f" ({hint.rstrip('.')})"
        what = goes_on or f"{name} does not start before it was downloaded once"
        self._report(name, f"{text}; {what}", "mlflow_not_followed", error.code())

    def _report(self, name: str, text: str, code: EventCode, why: str) -> None:
        """Report a problem of a model, once as long as it is the same."""
        del why
        if self._known.get(name) != text:
            self._known[name] = text
            self._say(code, text)
        self.problem = text

    def _say(self, code: EventCode, text: str) -> None:
        log.warning("%s", text, extra=coded(code))

    def _judge(self, decision: Decision, name: str) -> None:
        """Ask the gate about the version that asks for a promotion, when it has scored enough."""
        state = read_state(self._directory, name)
        asked = None if state is None else state.asked
        if asked is None:
            return
        scored = self._scored(asked.model)
        gate = decision.gate
        if not is_to_judge(asked, scored, time.time_ns(), gate.requests_min, gate.looks):
            return
        found = self._promote(decision, asked)
        if found is None:
            return
        self._judged(name, asked, scored, found)
        verdict = str(found.get("verdict"))
        if verdict == ENOUGH and decision.mlflow.promote == "auto" and not self._stop.stopping:
            watch_s = f"{decision.mlflow.watch_ms / 1000:g}s"
            self._promote(decision, asked, "--yes", "--watch", watch_s)

    def _judged(self, name: str, asked: Asked, scored: int, found: Mapping[str, Any]) -> None:
        """Record what the gate has said."""
        verdict, missing = str(found.get("verdict")), str(found.get("missing") or "")
        checks = [
            one for one in found.get("checks", ()) if one.get("verdict") in ("fail", "marginal")
        ]
        text = "; ".join(str(one.get("text")) for one in checks) or (
            missing if verdict != ENOUGH else ""
        )

        def change(state: RegistryState | None) -> RegistryState:
            state = state or RegistryState(uri="")
            if state.asked is None or state.asked.since_ns != asked.since_ns:
                return state
            judged = replace(
                state.asked,
                looks=state.asked.looks + 1,
                scored=scored,
                judged_ns=time.time_ns(),
                verdict=verdict,
                text=text,
            )
            return replace(state, asked=judged)

        change_state(self._directory, name, change)
        then = f"; {text}" if text else ""
        self._say(
            "promotion_judged",
            f"{asked.model} (version {asked.version}): the gate's verdict after {scored:,} "
            f"requests is {verdict}{then}",
        )

    def _promote(self, decision: Decision, asked: Asked, *more: str) -> dict[str, Any] | None:
        """Run `rdv promote`, which without --yes only judges; return its JSON, None without."""
        command = [sys.executable, "-m", "rdv", "promote", self._directory, asked.model]
        command += ["--over", asked.over, "--json", *more]
        limit_s = JUDGE_TIMEOUT_S
        if more:
            limit_s = decision.mlflow.watch_ms / 1000 + WATCH_MARGIN_S
        try:
            ended = run_program(
                command,
                timeout_s=limit_s,
                environment=self._environ,
                stop=self._stop.fileno(),  # readable from `stop` on, whenever that comes
            )
        except OSError as error:
            self._say("promotion_failed", f"{asked.model} cannot be judged: {error.strerror}")
            return None
        if ended.by_us:
            if ended.by_us == "timeout":
                text = f"{asked.model} cannot be judged: rdv promote has not ended in {limit_s:g} s"
                self._say("promotion_failed", text)
            return None
        try:
            found = json.loads(ended.output)
        except ValueError:
            last = (ended.problem.decode(errors="replace").strip() or "?").split("\n")[0]
            self._say("promotion_failed", f"{asked.model} cannot be judged: {last}")
            return None
        return found if isinstance(found, dict) else None


def check_downloads(decision: Decision) -> list[str]:
    """Return the downloaded versions in use that are damaged, as lines."""
    found = []
    for name, one in decision.registered.items():
        if one.version:
            place = decision.path(decision.models[name].path)
            if file := damage(place):
                found.append(f"{name}: {os.path.join(place, file)} is not as it was downloaded")
    return found
