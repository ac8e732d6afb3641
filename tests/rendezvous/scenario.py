"""Read and run the scenario transcripts in `transcripts/`: events in, expected results out.

    # comment
    live production                       the live schedule (default: the first one)
    models gbm logit                      models that live at the start
    schedule production {"sla_ms": …}     one schedule, inline; several lines for several
    limit early_scores_max 2              another limit

    0    request r1 [key=value …]         at 0 ms; keys: start, host, schedule, cohort, deadline_ms
    12   score r1 gbm {"p": 0.9}          a result; or `behind`, `expired`, `not-sampled`, `error …`
    30   tick                             time passes
    30   -> r1 fallback logit step=2 …    what the event above it must have answered, in order
    30   down gbm                         known dead; `up gbm`
    40   use qa                           another schedule becomes live
    40   answered r1                      a recorded result, at a rebuild
    50   count late=1 open=0              counters, and open mailboxes

Times are milliseconds. An event answers exactly the `->` lines that follow it; `->` takes the
kind, the model (- for none) and any of step=, waited=, result=, reason=, cohort=, schedule=,
arrived=gbm:12:result,logit:14:behind.  Values end at a blank: write JSON without blanks, and "_"
for blanks in a reason, which need only be a part of the real one.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec
import orjson

from rdv.rendezvous.engine import Engine
from rdv.rendezvous.limits import Limits
from rdv.rendezvous.messages import Request, Result, Score
from rdv.rendezvous.schedule import Schedule, schedule_from_object

HOST = "here/boot-1"


def ns(ms: str) -> int:
    return round(float(ms) * 1e6)


def options(words: list[str]) -> dict[str, str]:
    return dict(word.split("=", 1) for word in words)


class Scenario:
    """Run one transcript."""

    def __init__(self) -> None:
        self.schedules: dict[str, Schedule] = {}
        self.models: list[str] = []
        self.limits: dict[str, int] = {}
        self.live = ""
        self.engine: Engine | None = None
        self.results: list[Result] = []

    def run(self, path: Path) -> None:
        for number, line in self._lines(path):
            try:
                self.line(line)
            except AssertionError as error:
                raise AssertionError(f"{path.name}:{number}: {line}\n{error}") from error
        assert not self.results, f"{path.name}: not expected: {self.results}"

    @staticmethod
    def _lines(path: Path) -> Iterator[tuple[int, str]]:
        for number, line in enumerate(path.read_text().splitlines(), 1):
            if line.strip() and not line.startswith("#"):
                yield number, line

    def line(self, line: str) -> None:
        first, what, *rest = [*line.split(maxsplit=2), ""]
        words = rest[0].split()
        if first in ("live", "models", "schedule", "limit"):
            self.prepare(first, what, rest[0])
        elif what == "->":
            assert self.results, "nothing was answered"
            self.expect(self.results.pop(0), words)
        else:
            assert not self.results, f"not expected: {self.results}"
            self.engine = self.engine or self.start()
            self.results = getattr(self, f"do_{what}")(self.engine, ns(first), words) or []

    def prepare(self, first: str, what: str, rest: str) -> None:
        if first == "live":
            self.live = what
        elif first == "models":
            self.models = [what, *rest.split()]
        elif first == "limit":
            self.limits[what] = int(rest)
        else:
            self.schedules[what] = schedule_from_object(orjson.loads(rest), what)

    def start(self) -> Engine:
        live = self.live or next(iter(self.schedules))
        return Engine(HOST, self.schedules, live, self.models, Limits(**self.limits))

    @staticmethod
    def do_request(engine: Engine, now: int, words: list[str]) -> list[Result]:
        said = options(words[1:])
        schedule = said.get("schedule")
        request = Request(
            id=words[0],
            time_ns=0,
            host=said.get("host", HOST),
            monotonic_ns=ns(said["start"]) if "start" in said else now,
            reply_to="p-1",
            data=msgspec.Raw(b"{}"),
            schedule=orjson.loads(schedule) if schedule and schedule[0] == "{" else schedule,
            cohort=said.get("cohort"),
            deadline_ms=float(said["deadline_ms"]) if "deadline_ms" in said else None,
        )
        return engine.request(request, now)

    @staticmethod
    def do_score(engine: Engine, now: int, words: list[str]) -> list[Result]:
        id_, model, what, *more = words
        said: dict = {}
        if what == "error":
            said["error"] = " ".join(more)
        elif what in ("behind", "expired", "not-sampled"):
            said = {"refusal": what.replace("-", " "), "detail": " ".join(more)}
        else:
            said["result"] = msgspec.Raw("".join([what, *more]).encode())
        return engine.score(Score(id=id_, model=model, version="1", time_ns=0, **said), now)

    @staticmethod
    def do_tick(engine: Engine, now: int, words: list[str]) -> list[Result]:
        return engine.tick(now)

    @staticmethod
    def do_down(engine: Engine, now: int, words: list[str]) -> list[Result]:
        return engine.model_down(words[0], now)

    @staticmethod
    def do_up(engine: Engine, now: int, words: list[str]) -> list[Result]:
        return engine.model_up(words[0], now)

    def do_use(self, engine: Engine, now: int, words: list[str]) -> None:
        engine.schedules_changed(self.schedules, words[0])

    @staticmethod
    def do_answered(engine: Engine, now: int, words: list[str]) -> None:
        engine.already_answered(words[0], now)

    @staticmethod
    def do_deadline(engine: Engine, now: int, words: list[str]) -> None:
        expected = None if words[0] == "none" else ns(words[0])
        assert engine.next_deadline() == expected, engine.next_deadline()

    @staticmethod
    def do_count(engine: Engine, now: int, words: list[str]) -> None:
        counts = msgspec.structs.asdict(engine.counters)
        counts |= {"open": engine.open_count, "waiting": engine.early_count}
        expected = {key: int(value) for key, value in options(words).items()}
        assert {key: counts[key] for key in expected} == expected

    @staticmethod
    def expect(result: Result, words: list[str]) -> None:
        id_, kind, model, *more = words
        got = (result.id, result.kind, result.model or "-")
        assert got == (id_, kind, model), result
        said = options(more)
        if "reason" in said:
            assert said.pop("reason").replace("_", " ") in result.reason, result.reason
        arrived = [f"{a.model}:{a.arrived_ms:g}:{a.outcome}" for a in result.arrived]
        shown = {
            "step": str(result.step),
            "waited": f"{result.waited_ms:g}",
            "result": bytes(result.result).decode(),
            "cohort": str(result.cohort),
            "schedule": result.schedule.split("@")[0],
            "arrived": ",".join(arrived).replace(" ", "-"),
        }
        assert {key: shown[key] for key in said} == said, result
