"""The engine turns requests, scores and the passing of time into results. Pure.

A mailbox is moved to `now` before a report is put into it, so that a decision does not depend on
when, or how often, `tick` is called: only its result is returned later.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec
from msgspec import UNSET, Raw

from rdv.rendezvous.limits import Counters, Limits
from rdv.rendezvous.mailbox import DueQueue, EarlyScores, Mailbox, RecentIds
from rdv.rendezvous.messages import Kind, Request, Result, Score
from rdv.rendezvous.plan import PlanStore, to_ns
from rdv.rendezvous.reasons import (
    EXPIRED,
    OVERLOADED,
    PREFERRED,
    Reason,
    first_step_missed,
    why_bad_input,
    why_default,
    why_fallback,
)
from rdv.rendezvous.rules import cannot_be_met, combine_results, find_winners
from rdv.rendezvous.schedule import Schedule


class Engine:
    """An `Engine` decides requests.

    One thread at a time; `now_ns` is a monotonic clock that never runs backwards. `host` names that
    clock: a request of the same host counts its SLA from its own `monotonic_ns`, one of another
    host from its arrival here. `models` are those that are up.

    Raises UnknownSchedule when `live` is not among the schedules. After that nothing raises,
    whatever the messages contain.
    """

    def __init__(
        self,
        host: str,
        schedules: Mapping[str, Schedule],
        live: str,
        models: Iterable[str] = (),
        limits: Limits | None = None,
    ) -> None:
        self.limits = limits = limits or Limits()
        self.counters = counters = Counters()
        self._host = host
        self._plans = PlanStore(schedules, live, limits)
        self._live = set(models)
        self._dead: set[str] = set()
        self._open: dict[str, Mailbox] = {}
        self._answered = RecentIds(limits.answered_ids_max, limits.answered_ms_max * 1_000_000)
        self._early = EarlyScores(
            limits.early_scores_max,
            limits.early_ms_max * 1_000_000,
            counters,
            limits.early_bytes_max,
        )
        self._due_queue = DueQueue()

    # Input

    def request(self, request: Request, now_ns: int) -> list[Result]:
        """Open a mailbox; or answer at once, when that is possible or waiting is not."""
        counters = self.counters
        counters.requests += 1
        id_ = request.id
        if id_ in self._open or id_ in self._answered:
            counters.duplicate_requests += 1
            return []
        box = self._mailbox(request, now_ns)
        if isinstance(box, Result):
            return [box]
        self._open[id_] = box
        early = self._early.take(id_)
        if request.not_asked:
            self._leave_out(box, request.not_asked)
        if early or self._dead or box.arrived or not box.step.is_single:
            result = self._begin(box, early, now_ns)
        else:  # no report for the first step, unless the request took long to arrive
            result = self._catch_up(box, now_ns) if box.due_ns <= now_ns else None
        if result is not None:
            return [result]
        self._due_queue.add(box)
        return []

    def score(self, score: Score, now_ns: int) -> list[Result]:
        """Put a report into its mailbox. It may decide the request."""
        counters = self.counters
        counters.scores += 1
        box = self._open.get(score.id)
        if box is None:
            if score.id in self._answered:
                counters.late += 1
            else:
                self._early.keep(score, now_ns)
            return []
        if box.due_ns <= now_ns and (result := self._catch_up(box, now_ns)) is not None:
            counters.late += 1
        elif (result := self._put(box, score, now_ns, now_ns)) is None:
            return []
        self._due_queue.note_closed()
        return [result]

    def tick(self, now_ns: int) -> list[Result]:
        """Let time pass: end steps and waits that are over. O(expired · log open)."""
        self._early.expire(now_ns)
        results = []
        while (box := self._due_queue.due(now_ns)) is not None:
            if (result := self._catch_up(box, now_ns)) is not None:
                self._due_queue.note_closed()
                results.append(result)
        return results

    def next_deadline(self) -> int | None:
        """Return when `tick` is due, on the engine's clock; None while no mailbox is open."""
        return self._due_queue.next_due_ns()

    # Changes of schedules and models

    def schedules_changed(self, schedules: Mapping[str, Schedule], live: str) -> None:
        """Use these for requests that come from now on; open mailboxes keep their schedules.

        Raises UnknownSchedule when `live` is not among them; nothing has changed then.
        """
        self._plans.change(schedules, live)

    def model_up(self, name: str, now_ns: int) -> list[Result]:
        """Record that a model is up: steps wait for it. Steps that have ended stay ended."""
        results = self.tick(now_ns)
        # While no model is known, a step that accepts any waits even for one that has refused.
        is_first = not self._live and not self._dead
        self._dead.discard(name)
        self._live.add(name)
        return results + self._settle_all(now_ns) if is_first else results

    def model_down(self, name: str, now_ns: int) -> list[Result]:
        """Record that a model is dead or retired: no step waits for it. O(open mailboxes)."""
        # requests that are due by now are decided by what was known until now
        results = self.tick(now_ns)
        self._live.discard(name)
        self._dead.add(name)
        return results + self._settle_all(now_ns)

    def already_answered(self, id_: str, now_ns: int) -> None:
        """Record that a request has been answered, so that it is not answered again.

        For the rebuild after a restart: recorded results are passed to this method, then recorded
        requests and scores, by their time, to `request` and `score`.
        """
        box = self._open.pop(id_, None)
        if box is not None:
            box.is_open = False
            self._due_queue.note_closed()
        self._early.take(id_)
        self._answered.add(id_, now_ns)

    def in_place_of(self, result: Result, why: Reason) -> Result | None:
        """Return the marked default for a decided request whose result cannot be sent.

        Returns None when its schedule is not known any more: the proxy's own default answers it
        then.
        """
        plan = self._plans.find(result.schedule)
        if plan is None:
            return None
        counters = self.counters
        counters.preferred -= result.kind == "preferred"
        counters.fallback -= result.kind == "fallback"
        counters.default += result.kind != "default"
        return msgspec.structs.replace(
            result,
            kind="default",
            result=plan.default,
            model=None,
            version=None,
            code=why.code,
            reason=why.text,
            step=0,
            arrived=[],
        )

    def count_malformed(self, records: int = 1) -> None:
        """Count records that the server could not read."""
        self.counters.malformed += records

    def may_matter(self, id_: str, model: str) -> bool:
        """Return whether a report of this model can still change an open request's answer.

        Its step, or a later one, accepts the model; or the model judges the input.
        """
        box = self._open.get(id_)
        if box is None:
            return False
        if model in box.step.ranks or model in box.plan.input_judges:
            return True
        steps = box.plan.steps[box.step.number - 1 :]
        return any(step.accepts_others or model in step.ranks for step in steps)

    @property
    def open_count(self) -> int:
        """Return how many mailboxes are open."""
        return len(self._open)

    @property
    def early_count(self) -> int:
        """Return how many scores wait for their request."""
        return len(self._early)

    # Decisions

    def _mailbox(self, request: Request, now_ns: int) -> Mailbox | Result:
        """Return a new mailbox; or the default, when the request must not wait."""
        counters = self.counters
        start_ns = now_ns
        if request.host == self._host and request.monotonic_ns < now_ns:
            start_ns = request.monotonic_ns
        plan, why = self._plans.plan_for(request)
        wait_ns = plan.wait_ns
        if request.deadline_ms is not None and request.deadline_ms < plan.sla_ms:
            wait_ns = min(wait_ns, to_ns(max(0.0, request.deadline_ms)))
        box = Mailbox(request, plan, start_ns, start_ns + wait_ns)
        if why is not None:
            counters.invalid_schedule += 1
        elif box.deadline_ns <= now_ns:
            counters.expired_on_arrival += 1
            why = EXPIRED
        elif len(self._open) >= self.limits.open_mailboxes_max:
            counters.overloaded += 1
            why = OVERLOADED
        else:
            return box
        counters.late += len(self._early.take(request.id))
        return self._default(box, why, now_ns)

    def _leave_out(self, box: Mailbox, not_asked: Iterable[str]) -> None:
        """Record models that are not asked as refusals at the start of the request."""
        for name in not_asked:
            if self._has_room(box.arrived, name):
                refusal = Score(box.id, name, "", 0, refusal="not sampled")
                box.arrived[name] = (box.start_ns, refusal)

    def _begin(self, box: Mailbox, early: list[tuple[int, Score]], now_ns: int) -> Result | None:
        """Process early scores as if the request had come before them."""
        start_ns = box.start_ns
        before = [item for item in early if item[0] < start_ns]
        for at_ns, score in before:
            if self._has_room(box.arrived, score.model):
                box.arrived[score.model] = (at_ns, score)
        result = self._judged(box, now_ns) or self._settle(box, start_ns, now_ns)
        for at_ns, score in early[len(before) :]:
            if result is None:
                result = self._catch_up(box, now_ns, until_ns=at_ns)
            if result is None:
                result = self._put(box, score, at_ns, now_ns)
            else:
                self.counters.late += 1
        return self._catch_up(box, now_ns) if result is None else result

    def _put(self, box: Mailbox, score: Score, at_ns: int, now_ns: int) -> Result | None:
        """Put a report into an up-to-date mailbox. This contains the hottest path."""
        model, step, arrived = score.model, box.step, box.arrived
        if arrived and not self._has_room(arrived, model):
            return None
        arrived[model] = (at_ns, score)
        if score.result is UNSET or not step.is_single:
            if score.result is not UNSET and len(arrived) < step.needs_min:
                return None  # too few; and no answer makes the step impossible
            if score.refusal == "bad input" and model in box.plan.input_judges:
                return self._default(box, why_bad_input(score), now_ns)
            return self._settle(box, at_ns, now_ns)
        if model in step.ranks or step.accepts_others:
            return self._answer(box, score, now_ns)
        return None

    def _judged(self, box: Mailbox, now_ns: int) -> Result | None:
        """Return the default if a judge has said before the start that the data is invalid."""
        for _, score in box.arrived.values() if box.plan.input_judges else ():
            if score.refusal == "bad input" and score.model in box.plan.input_judges:
                return self._default(box, why_bad_input(score), now_ns)
        return None

    def _has_room(self, arrived: Mapping[str, tuple[int, Score]], model: str) -> bool:
        if model in arrived:
            self.counters.duplicate_scores += 1
        elif len(arrived) >= self.limits.reports_max:
            self.counters.evicted += 1
        else:
            return True
        return False

    def _catch_up(self, box: Mailbox, now_ns: int, until_ns: int | None = None) -> Result | None:
        """End the mailbox's steps that have ended by `until_ns` (default: now)."""
        until_ns = now_ns if until_ns is None else until_ns
        while box.due_ns <= until_ns:
            if (result := self._settle(box, box.due_ns, now_ns)) is not None:
                return result
        return None

    def _settle_all(self, now_ns: int) -> list[Result]:
        """Return the results of the mailboxes that a change of the known models has decided."""
        results = []
        for box in list(self._open.values()):
            if (result := self._settle(box, now_ns, now_ns)) is not None:
                self._due_queue.note_closed()
                results.append(result)
        return results

    def _settle(self, box: Mailbox, at_ns: int, now_ns: int) -> Result | None:
        """Go through the steps that `at_ns` and the reports allow, up to one that must wait.

        At a deadline that cuts the schedule short (the client's), the remaining steps are asked in
        order at once: an existing answer is better than the default.
        """
        while True:
            if box.arrived and (winners := find_winners(box, self._live)):
                if box.step.combine != "best":
                    return self._combined(box, winners, now_ns)
                return self._answer(box, winners[0], now_ns)
            if at_ns < box.due_ns and not cannot_be_met(box, self._live, self._dead):
                return None
            if not box.next_step():
                why = why_default(box, at_ns, self._dead, self._live)
                return self._default(box, why, now_ns)

    def _answer(self, box: Mailbox, score: Score, now_ns: int) -> Result:
        """Close the mailbox with one model's answer."""
        model = score.model
        kind: Kind = "preferred"
        why = PREFERRED
        if model != box.plan.champion and not self._is_first_choice(box, model):
            kind, why = "fallback", why_fallback(box, self._dead)
        answer = score.result
        assert answer is not UNSET
        return self._close(box, kind, answer, now_ns, model, score.version, why, box.step.number)

    @staticmethod
    def _is_first_choice(box: Mailbox, model: str) -> bool:
        plan = box.plan
        number, rank = plan.first_choice(box.left_out) if box.left_out else plan.first
        return plan.steps[number - 1].rank(model) == rank

    def _combined(self, box: Mailbox, winners: list[Score], now_ns: int) -> Result:
        """Close the mailbox with a combined answer; preferred if the first step asked for it."""
        step = box.step
        results = [score.result for score in winners if score.result is not UNSET]
        combined = combine_results(step.combine, results, step.on, step.top)
        plan = box.plan
        number, _ = plan.first_choice(box.left_out) if box.left_out else plan.first
        kind: Kind = "preferred" if step.number == number else "fallback"
        if combined is None:
            best, text = winners[0], f"the answers cannot be combined by {step.combine}"
            why = Reason("answers_not_combined", text)
            return self._close(
                box, "fallback", results[0], now_ns, best.model, best.version, why, step.number
            )
        why = PREFERRED if kind == "preferred" else first_step_missed(box)
        models = "+".join([score.model for score in winners])
        versions = "+".join([score.version for score in winners])
        return self._close(box, kind, combined, now_ns, models, versions, why, step.number)

    def _default(self, box: Mailbox, why: Reason, now_ns: int) -> Result:
        return self._close(box, "default", box.plan.default, now_ns, None, None, why, 0)

    def _close(
        self,
        box: Mailbox,
        kind: Kind,
        answer: Raw,
        now_ns: int,
        model: str | None,
        version: str | None,
        why: Reason,
        step: int,
    ) -> Result:
        """Make the result and close the mailbox. All results are made here."""
        self._open.pop(box.id, None)
        self._answered.add(box.id, now_ns)
        counters = self.counters
        code, reason = why
        if kind == "preferred":
            counters.preferred += 1
        elif kind == "fallback":
            counters.fallback += 1
        else:
            counters.default += 1
        result = Result(  # in the order of its fields: by keyword it takes twice as long
            box.id,
            box.reply_to,
            kind,
            answer,
            box.plan.label,
            box.waited_ms(now_ns),
            model,
            version,
            reason,
            code,
            step,
            box.arrivals(),
            box.cohort,
        )
        if box.propensity is not None:
            result = msgspec.structs.replace(result, propensity=box.propensity)
        box.is_open = False
        box.arrived = {}  # its entry in the due queue may outlive it
        return result
