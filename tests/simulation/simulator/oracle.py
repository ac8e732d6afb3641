"""Check the promises during a run and after it. Only the oracle knows true time."""

from __future__ import annotations

from collections import Counter
from typing import Any

import orjson

from rdv.analysis.verify.redecide import Replayer, differences, possible_knowledge
from rdv.rendezvous.deadlines import GRACE_NS
from rdv.rendezvous.messages import Result, Score
from rdv.rendezvous.reference import Decision, LivenessChange, Report, decide
from rdv.stream.record import records_of
from simulator.engine import Case
from simulator.ledger import Asked, Logged
from simulator.outcome import Broken
from simulator.restarts import Restarts
from simulator.scheduler import DEAD, MS, START_NS, Process

TIMER_NS = 1_300_000
"""The tolerance for a turn, and for poll(2) and loops that count whole milliseconds."""
LOOK_NS = 12 * MS
"""A server with an open request checks everything at least this often (`server.LOOK_S`)."""
BACKSTOP_NS = 305 * MS
"""How long a process takes to find new records without a wake-up: it checks every 200 ms
(`feeds.BACKSTOP_S`), but ignores the board's word only after another 100 (`consumer.LOOK_NS`).
"""
MOVED_NS = BACKSTOP_NS
"""A reader of files that were moved away notices it at its own next check."""
BROKER_NS = 4 * MS
NEWS_NS = 20 * MS
BROKEN_MAX = 20


def _model_of(process: Process) -> str:
    part: Any = process.parts.get("part")
    return "" if part is None else part.model


class Oracle:
    """Collect broken promises."""

    def __init__(self, world) -> None:
        self._world = world
        self.broken: list[Broken] = []
        self.counts: Counter[str] = Counter()
        self.restarts = Restarts(self)
        self.cases: dict[str, Case] = {}
        self._expected: dict[str, Decision] = {}
        self._delivered: dict[tuple[str, str], int] = {}
        self._given_up: set[str] = set()
        self._next: dict[tuple, int] = {}
        self._replayer = Replayer()
        self._deaths_heard: Counter[tuple[int, str]] = Counter()

    # Reporting

    def expect(self, holds: bool, promise: str, text: str, *arguments: object) -> None:
        if not holds:
            self.broke(promise, text % arguments)

    def broke(self, promise: str, detail: str) -> None:
        if len(self.broken) < BROKEN_MAX:
            at_ms = (self._now_ns - START_NS) / MS
            self.broken.append(Broken(promise, f"at {at_ms:.3f} ms: {detail}"))
            self._world.note("BROKEN %s: %s", promise, detail)

    @property
    def _now_ns(self) -> int:
        return self._world.scheduler.now_ns

    # Processes

    def started(self, process: Process) -> None:
        self.restarts.started(process, self._now_ns, self._world)

    def ended(self, process: Process) -> None:
        self.counts["ends"] += 1
        self.restarts.ended(process, self._now_ns)

    def watch_reading(self, process: Process, worker: Any) -> None:
        """Check that every instance reads a partition in order, and leaves nothing out."""
        feed = worker.requests.feed
        poll, consumer = feed.poll, feed.consumer

        def watched(max_records: int) -> list:
            blocks = poll(max_records)
            for record in records_of(blocks):
                place = record.topic, record.partition
                position = consumer._positions.get(place)
                key = process.pid, place, 0 if position is None else position.since
                expected = self._next.get(key, record.offset)
                faults = self._world.faults
                skipped = range(expected, record.offset)
                self.expect(
                    (record.offset == expected or faults.has_clock_jumped)
                    or (skipped and all(faults.is_damaged("input", place, n) for n in skipped)),
                    "order",
                    "%s read %s:%d, not %d",
                    process, place, record.offset, expected,
                )  # fmt: skip
                self._next[key] = record.offset + 1
            return blocks

        feed.poll = watched

    def evaluated(self, model: str, numbers: list[int]) -> None:
        self.counts["evaluated"] += len(numbers)

    # The engine

    def delivered(self, score: Score, process: Process) -> None:
        self._delivered.setdefault((score.id, score.model), self._now_ns)

    def taken_for_alive(self, model: str, process: Process) -> None:
        """Check that an engine takes no model for alive by records before its known death."""
        self._world.note("takes %s for alive", model)
        news = [n for n in self._world.ledger.news.values() if n.message["model"] == model]
        if any(self._is_damaged("control", one) for one in news):
            return  # the server has not read all of it
        deaths = sum(one.message["state"] == "down" for one in news)
        if not news or news[-1].message["state"] == "up":
            return
        if self._deaths_heard[process.pid, model] == deaths:
            # The server may believe a process that started and ended again without a word of the
            # supervisor.
            lives = any(
                p.state != DEAD or p.ended_ns > news[-1].at_ns
                for p in self._world.processes
                if _model_of(p) == model
            )
            self.expect(lives, "dead model", "%s takes %s, dead, for alive", process, model)

    def taken_for_dead(self, model: str, process: Process) -> None:
        self._world.note("takes %s for dead", model)
        self._deaths_heard[process.pid, model] += 1

    def seen(self, case: Case, live: set[str]) -> None:
        """Check that an engine gets a request soon enough, and waits for live models only."""
        if case.is_rebuilt:
            return
        process = case.process
        ready_ns: Any = process.parts.get("ready_ns", 0)
        logged = self._world.ledger.requests[case.request.id]
        since_ns = max(self._world.backends["input"].shown_ns(logged), ready_ns)
        bound_ns = LOOK_NS + process.was_held_up_ns(since_ns, self._now_ns)
        if process.was_unrung_ns(since_ns - BACKSTOP_NS, self._now_ns):
            bound_ns += BACKSTOP_NS
        if self._world.plan.is_broker:
            bound_ns += BROKER_NS
        if self._world.faults.was_moved("input"):
            bound_ns += MOVED_NS
        late_ns = self._now_ns - since_ns
        self.expect(
            late_ns <= bound_ns,
            "server reads in time",
            "%s: request %s was read %.3f ms after its append",
            process, case.request.id, late_ns / MS,
        )  # fmt: skip
        for model in live:
            self._check_alive(model, process)

    def _check_alive(self, model: str, process: Process) -> None:
        """Check that a model that is taken for alive has run since it was last reported dead."""
        last: Logged | None = None
        for news in self._world.ledger.news.values():
            if news.message["model"] == model:
                last = news
        if last is None or last.message["state"] == "up" or self._is_damaged("control", last):
            return
        since_ns = self._now_ns - NEWS_NS - process.was_held_up_ns(last.at_ns, self._now_ns)
        if last.at_ns > since_ns or process.was_unrung_ns(last.at_ns, self._now_ns):
            return
        lives = any(
            p.state != DEAD or p.ended_ns > last.at_ns
            for p in self._world.processes
            if _model_of(p) == model
        )
        self.expect(
            lives, "dead model", "%s waits for %s, known to be dead since %.3f ms",
            process, model, (last.at_ns - START_NS) / MS,
        )  # fmt: skip

    def given_up(self, id_: str, process: Process) -> None:
        """Check that no client waits for a request that the server passes over."""
        self._given_up.add(id_)
        if id_ in self._world.ledger.results or id_ in self._world.ledger.own_answers:
            return
        logged = self._world.ledger.requests.get(id_)
        asked = None if logged is None else self._asked(logged)
        if asked is None or asked.answers or asked.has_left or asked.proxy.state is DEAD:
            return
        request: Any = logged.message
        due_ns = asked.received_ns + int(request.deadline_ms * 1e6) + GRACE_NS
        self.expect(due_ns <= self._now_ns, "given up", "%s, for which %s waits", id_, asked.proxy)

    def _asked(self, logged: Logged) -> Asked | None:
        number = orjson.loads(bytes(logged.message.data))["n"]
        return self._world.ledger.asked.get(number)

    def decided(self, case: Case) -> None:
        """Check that the engine's result is the right one, at the right time."""
        result = case.result
        self.counts[result.kind] += 1
        self.counts["judged"] += result.code == "bad_input"
        if self._world.trace is not None:
            self._world.note(
                "decides %s: %s %s (%s)", result.id, result.kind, result.model, result.reason
            )
        self.cases[result.id] = case
        expected = self._expect_decision(case)
        models = tuple(result.model.split("+")) if result.model else ()
        arrived = tuple(arrival.model for arrival in result.arrived)
        told = result.kind, models, bytes(result.result), result.step, arrived
        wanted = (
            expected.kind, expected.models, expected.result, expected.step, expected.arrived
        )  # fmt: skip
        self.expect(told == wanted, "pure decision", "%s: %s, not %s", result.id, told, wanted)
        self._expected[result.id] = expected
        if not case.is_rebuilt:
            self._check_prompt(case, expected)
            self._check_scores_delivered(case)

    def _expect_decision(self, case: Case) -> Decision:
        schedule, request = case.schedule, case.request
        if case.is_unknown or case.is_overloaded:
            default = orjson.dumps(schedule.default)
            return Decision("default", (), default, 0, case.seen_ns - case.start_ns)
        return decide(
            schedule,
            case.history,
            live=case.live,
            dead=case.dead,
            deadline_ms=request.deadline_ms,
            seen_ns=case.seen_ns - case.start_ns,
            left_out=case.request.not_asked if case.request.names_models else (),
        )

    def _check_prompt(self, case: Case, expected: Decision) -> None:
        """Check that a request waits for models no longer than the rules say."""
        due_ns = max(case.seen_ns, case.start_ns + expected.at_ns)
        due_true_ns = self._world.clock.true_ns(case.process.host, due_ns)
        late_ns = case.told_true_ns - due_true_ns
        held_up_ns = case.process.was_held_up_ns(due_true_ns, case.told_true_ns)
        self.expect(
            late_ns <= TIMER_NS + held_up_ns,
            "prompt",
            "%s was decided %.3f ms late (held up %.3f)",
            case.request.id, late_ns / MS, held_up_ns / MS,
        )  # fmt: skip

    def _check_scores_delivered(self, case: Case) -> None:
        """Check that scores in the log reach the mailbox of their request while it is open."""
        id_, process = case.request.id, case.process
        known = {e.score.model for e in case.history if isinstance(e, Report)}
        for model in self._world.specs:
            logged = self._world.ledger.scores.get((id_, model))
            if logged is None or model in known or self._is_damaged("scores", logged[0]):
                continue
            shown_ns = self._world.backends["scores"].shown_ns(logged[0])
            since_ns = max(shown_ns, case.seen_true_ns)
            bound_ns = 2 * MS
            if process.was_unrung_ns(since_ns - BACKSTOP_NS, case.told_true_ns):
                bound_ns = BACKSTOP_NS
            bound_ns += process.was_held_up_ns(since_ns, case.told_true_ns)
            bound_ns += BROKER_NS if self._world.plan.is_broker else 0
            bound_ns += MOVED_NS if self._world.faults.was_moved("scores") else 0
            waited_ns = case.told_true_ns - since_ns
            self.expect(
                waited_ns <= bound_ns,
                "passed over",
                "%s of %s had been there for %.3f ms when it was decided",
                model, id_, waited_ns / MS,
            )  # fmt: skip

    def _is_damaged(self, stream: str, logged: Logged) -> bool:
        return self._world.faults.is_damaged(stream, logged.place, logged.offset)

    # The client

    def may_have_place(self, asked: Asked) -> bool:
        """Return whether the client's share of places leaves it one, by an own copy of the rule."""
        plan, ledger = self._world.plan, self._world.ledger
        open_ = [a for a in ledger.asked.values() if a.proxy is asked.proxy and not a.answers]
        open_ = [a for a in open_ if not a.has_left]
        free, share = plan.in_flight_max - len(open_), plan.client_share
        if share < 1:  # twenty places are left for other clients, or half of all
            share = min(share, max(0.5, 1 - 20 / plan.in_flight_max))
        held = sum(a.client == asked.client for a in open_)
        if not held or share == 1:
            return free > 0
        return free > 1 and held * (1 - share) < free * share

    def took_place(self, asked: Asked, *, may_have_place: bool) -> None:
        """Check that the proxy refused a request for want of a place only and always rightly."""
        is_refused = False
        for _, status, answer in asked.answers:
            is_refused = status == 429 or answer.get("code") == "overloaded"
        is_over = bool(asked.answers) and not is_refused  # answered for another reason
        self.expect(
            is_over or is_refused != may_have_place,
            "shares",
            "%d of %s was %s",
            asked.number, asked.client, "refused" if is_refused else "taken",
        )  # fmt: skip

    def answered(self, asked: Asked, status: int, body: bytes) -> None:
        self._world.note("answers %d: %d %s", asked.number, status, body)
        answer = orjson.loads(body)
        asked.answers.append((self._now_ns, status, answer))
        self.expect(len(asked.answers) == 1, "answered once", "%d: %s", asked.number, asked.answers)
        self.counts[f"status {status}"] += 1
        if status == 200:
            self._check_answer(asked, answer)

    def _check_answer(self, asked: Asked, answer: dict[str, Any]) -> None:
        world, process = self._world, asked.proxy
        schedule = world.labels.get(answer["schedule"])
        sla_ms = None if schedule is None else schedule.sla_ms
        logged = world.ledger.numbers.get(asked.number)
        if logged is not None:
            deadline_ms = logged.message.deadline_ms
        else:
            deadline_ms = min(sla_ms or 90, asked.deadline_ms or 90)
        due_ns = asked.received_ns + int(deadline_ms * 1e6) + GRACE_NS + TIMER_NS
        held_up_ns = process.was_held_up_ns(asked.received_ns, self._now_ns)
        self.expect(
            self._now_ns <= due_ns + held_up_ns,
            "answered by the SLA",
            "%d: %.3f ms after its deadline of %s ms (held up %.3f)",
            asked.number, (self._now_ns - due_ns + GRACE_NS) / MS, deadline_ms, held_up_ns / MS,
        )  # fmt: skip
        if answer["answered_by"] == "proxy":
            self.counts["by the proxy"] += 1
            self.expect(answer["kind"] == "default", "marked", "%s", answer)
        if answer["kind"] == "default":
            default = {"score": 0, "by": "default"}
            self.expect(
                answer["result"] == default and answer["model"] is None and bool(answer["reason"]),
                "marked", "%s", answer,
            )  # fmt: skip
        else:
            self._check_owner(asked, answer)

    def _check_owner(self, asked: Asked, answer: dict[str, Any]) -> None:
        """Check that the answer is by the named models, about this very request."""
        result, models = answer["result"], answer["model"].split("+")
        self.expect(
            result["n"] == asked.number and result["m"] in models,
            "its own answer", "%d got %s", asked.number, answer,
        )  # fmt: skip
        is_marked = answer["kind"] == "preferred" or bool(answer["reason"]) or models
        self.expect(bool(is_marked), "marked", "%s", answer)

    # After the run

    def finish(self) -> None:
        world = self._world
        self.expect(not world.ledger.gaps, "log", "%s", world.ledger.gaps)
        for backend in world.backends.values():
            backend.audit(self)
        for (stream, place), end in world.ledger.ends.items():
            if world.faults.was_moved(stream):
                continue  # offsets may have changed
            there = world.backends[stream].end(place)
            self.expect(there == end, "log", "%s/%s ends at %d, not %d", stream, place, there, end)
        for asked in world.ledger.asked.values():
            self._finish_asked(asked)
        for id_, logged in world.ledger.requests.items():
            self._finish_logged(id_, logged)
        for id_ in {**world.ledger.results, **world.ledger.own_answers}:
            self._finish_result(id_)

    def _finish_asked(self, asked: Asked) -> None:
        self.counts["asked"] += 1
        if asked.proxy.state is not DEAD and not asked.has_left:
            self.expect(bool(asked.answers), "answered", "%d never was", asked.number)
        if not asked.answers or asked.answers[0][1] != 200:
            return
        answer = asked.answers[0][2]
        ledger, id_ = self._world.ledger, answer["id"]
        if answer["answered_by"] == "proxy":
            on_record = ledger.own_answers.get(id_, [])
            if asked.proxy.state is not DEAD:
                self.expect(bool(on_record), "on record", "%s, the proxy's own answer, is not", id_)
        else:
            on_record = ledger.results.get(id_, [])
            self.expect(bool(on_record), "on record", "%s is not", id_)
        said = [
            (result.kind, result.model, orjson.loads(bytes(result.result)))
            for result in (logged.message for logged in on_record)
        ]
        told = answer["kind"], answer["model"], answer["result"]
        is_told = not said or (said == [told] if len(said) == 1 else told in said)
        self.expect(is_told, "on record", "%s: %s, and %s was told", id_, said, told)

    def _finish_logged(self, id_: str, logged: Logged) -> None:
        """Check that the server has one result for each request that is in the log."""
        world, request = self._world, logged.message
        number = orjson.loads(bytes(request.data))["n"]
        self.expect(
            bytes(request.data) == world.sent[number], "same bytes", "%s is logged", request
        )
        results = world.ledger.results.get(id_, [])
        # A server that starts cannot know of an answer that can no longer be read.
        is_forgotten = any(self._is_damaged("results", result) for result in results)
        if world.faults.was_moved("results"):
            is_forgotten = len({result.by for result in results}) == len(results)
        self.expect(len(results) <= 1 or is_forgotten, "one result", "%s has %d", id_, len(results))
        if not results and id_ not in self._given_up:
            is_lost = world.disk.had_faults("results") and id_ in self.cases
            is_lost = is_lost or self._is_damaged("input", logged)
            is_lost = is_lost or (world.faults.was_locked("results") and id_ in self.cases)
            is_lost = is_lost or world.backends["input"].is_hidden(logged)
            self.expect(is_lost, "one result", "%s has none", id_)
        has_skipped = (
            world.disk.ever
            or world.faults.has_clock_jumped
            or world.faults.touched
            or self._is_damaged("input", logged)
            or world.backends["input"].is_hidden(logged)
            # a killed worker loses the scores that it has in memory
            or world.faults.was_locked("scores")
        )
        if not has_skipped:
            for spec in world.plan.models:
                if spec.when_behind == "all" and spec.name not in request.not_asked:
                    reports = world.ledger.scores.get((id_, spec.name))
                    self.expect(bool(reports), "sees all", "%s has not reported %s", spec.name, id_)

    def _finish_result(self, id_: str) -> None:
        """Check that a replay of the log alone gives the same decision."""
        ledger = self._world.ledger
        for logged in ledger.results.get(id_, [])[-1:]:  # `cases` has the last decision
            result: Any = logged.message
            case = self.cases.get(id_)
            if case is None or case.is_unknown or case.is_overloaded:
                continue
            again = self._replay(case, result)
            models = tuple(result.model.split("+")) if result.model else ()
            self._verify_again(case, result)
            told = result.kind, models, bytes(result.result), result.step
            wanted = again.kind, again.models, again.result, again.step
            self.expect(told == wanted, "replay", "%s: %s, not %s", id_, told, wanted)

    def _verify_again(self, case: Case, result: Result) -> None:
        """Check that `rdv verify` makes the recorded decision again, as it does for any log."""
        scores, not_asked = self._world.ledger.scores, case.request.not_asked
        reports = [
            (arrival, scores[result.id, arrival.model][0].message)
            for arrival in result.arrived
            if arrival.model not in not_asked
        ]
        dead, deads = set(case.dead), [frozenset(case.dead)]
        for event in case.history:
            if isinstance(event, LivenessChange):
                (dead.discard if event.is_up else dead.add)(event.model)
                deads.append(frozenset(dead))
        arrived = frozenset(arrival.model for arrival in result.arrived)
        wrong: dict = {}
        for number, known in enumerate(
            possible_knowledge(frozenset(self._world.specs), arrived, deads)
        ):
            again = self._replayer.decide(
                case.request, result, reports, case.schedule, known, again=number > 0
            )
            found = differences(result, again)
            if not found:
                self.counts["verified"] += 1
                return
            wrong = wrong or found
        self.broke("verify", f"{result.id}: {wrong}")

    def _replay(self, case: Case, result: Result) -> Decision:
        """Decide again from the log: its arrivals and scores. Liveness comes from the case."""
        events: list[Report | LivenessChange] = [
            event for event in case.history if isinstance(event, LivenessChange)
        ]
        asked = [a for a in result.arrived if a.model not in case.request.not_asked]
        for arrival in asked:
            (first, *_) = self._world.ledger.scores[result.id, arrival.model]
            events.append(Report(round(arrival.arrived_ms * 1e6), first.message))
        for model in case.request.not_asked:
            refusal = Score(result.id, model, "", 0, refusal="not sampled")
            events.append(Report(-1, refusal))
        order = {id(event): number for number, event in enumerate(case.history)}
        models = {e.score.model: n for n, e in reversed(list(enumerate(case.history)))
                  if isinstance(e, Report)}  # fmt: skip
        events.sort(key=lambda e: models[e.score.model] if isinstance(e, Report) else order[id(e)])
        return decide(
            case.schedule,
            events,
            live=case.live,
            dead=case.dead,
            deadline_ms=case.request.deadline_ms,
            seen_ns=case.seen_ns - case.start_ns,
            left_out=case.request.not_asked if case.request.names_models else (),
        )
