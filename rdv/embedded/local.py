"""Implement `rdv.local`: a decision in the caller's own process, without HTTP and streams."""

from __future__ import annotations

import logging
import os
import threading
import time
import weakref
from collections.abc import Collection, Mapping
from typing import Any, Literal, Self

import msgspec
import orjson

from rdv.client.answer import Answer, Arrived
from rdv.client.calls import checked_data, key_text
from rdv.client.errors import InvalidCall, RequestRefused
from rdv.coded import coded
from rdv.decision import Decision, load_decision
from rdv.decision.decision import read_schedules
from rdv.decision.schema_check import Checked, SchemaChecker, read_tree
from rdv.decision.schema_source import schema_text
from rdv.embedded.caller import InThread, Isolated
from rdv.embedded.decider import Decided, Decider, ModelCaller
from rdv.http import Failure
from rdv.models import ModelNotLoaded
from rdv.models.model import describe
from rdv.rendezvous.messages import Request, RequestIds, Score, encode_model_result
from rdv.rendezvous.schedule import Schedule
from rdv.serve.proxy.enricher import Enrich, load_enricher
from rdv.serve.proxy.intake import ChosenSchedule
from rdv.serve.proxy.main import choice_of, cohorts_of, model_selection_of
from rdv.serve.proxy.proxy import INVALID_CHARACTERS_MAX, bad_input

log = logging.getLogger("rdv.local")

Isolation = Literal["none", "process"]
HOST = "local"
_NOT_ASKED = "[%s] is not asked in this process: pass its features in the data"


class _Loaded:
    """What is loaded of a decision's directory: settings, schedules and models."""

    def __init__(self, directory: str, isolation: Isolation, *, allow_missing: bool) -> None:
        """Raise ModelNotLoaded, and the RdvErrors of a decision that cannot be used."""
        self.decision: Decision = load_decision(os.path.abspath(directory))
        schedules = read_schedules(self.decision.directory)
        if schedules.faults:
            raise schedules.faults[0]
        self.models = _open_models(self.decision, isolation, allow_missing=allow_missing)
        try:
            self.choice = choice_of(schedules.by_name, self.decision)
            self.cohorts = cohorts_of(self.decision)
            self.selection = model_selection_of(self.decision)
            schema = schema_text(self.decision)
            self.schema = SchemaChecker(read_tree(schema)) if schema else None
            for name in ("enrich_redis", "enrich_http"):
                if getattr(self.decision, name).is_declared:
                    log.warning(_NOT_ASKED, name, extra=coded("enricher_failed"))
            spec = self.decision.http.enrich
            self.enrich = load_enricher(self.decision.directory, spec) if spec else None
            self.decider = Decider(
                HOST, schedules.by_name, self.decision.schedule, self.models, time.monotonic_ns
            )
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        for model in self.models.values():
            model.close()


def _open_models(
    decision: Decision, isolation: Isolation, *, allow_missing: bool
) -> dict[str, ModelCaller]:
    opened: dict[str, ModelCaller] = {}
    kind = Isolated if isolation == "process" else InThread
    try:
        for name in decision.scoring_models():
            try:
                opened[name] = kind(decision.directory, name, decision.models[name])
            except ModelNotLoaded as error:
                if not allow_missing:
                    raise
                log.warning("%s", error.text(), extra=coded(error))
    except BaseException:
        for model in opened.values():
            model.close()
        raise
    return opened


class Local:
    """A `Local` decides in this process: no server, no HTTP, no streams, and nothing is recorded.

        with rdv.local("fraud") as decision:
            answer = decision.decide({"amount": 12.5}, key="user-42")

    The same rdv.toml, schedules, cohorts and model files as those of `rdv serve` are used, and the
    same engine: the same arrivals give the same answers. Models are evaluated one after another, in
    the calling thread, in the order of the schedule; those whose answers cannot matter any more are
    not evaluated. An answer that comes after the SLA is the marked default, as in serving.

    **There is no protection from a model that hangs**, crashes in C or ends the process, unless
    `isolation="process"` gives each model a process of its own, which takes 100 to 300 µs more for
    each: then a decision ends with its SLA, whatever a model does. The enricher (`http.enrich`) is
    called in the calling thread as well, without its time limit. [enrich_redis] and [enrich_http]
    are not asked, which is logged: pass their features in the data.

    Thread-safe: one decision at a time, other threads wait. Model code runs in the threads that
    call `decide`. In the child of a fork the models are the child's own copies; isolated ones stay
    with the parent, and the child opens the decision again.
    """

    def __init__(
        self, directory: str, isolation: Isolation = "none", *, allow_missing: bool = False
    ) -> None:
        """See `local`."""
        if isolation not in ("none", "process"):
            raise InvalidCall(f"isolation is 'none' or 'process', not {isolation!r}")
        self._arguments = os.path.abspath(directory), isolation
        self._allow_missing = allow_missing
        self._lock = threading.Lock()
        self._loaded: _Loaded | None = self._load()
        self._ids = RequestIds(os.urandom)
        self._why_closed = "this decision is closed"
        _of_this_process.add(self)

    def _after_fork(self) -> None:
        """Make this usable in the child of a fork: with ids and a lock of its own."""
        self._lock = threading.Lock()
        self._ids.forget()
        if self._arguments[1] == "process" and self._loaded is not None:
            self._loaded = None  # not closed: the processes are the parent's
            self._why_closed = "isolated models belong to the process that opened them"

    def _load(self) -> _Loaded:
        directory, isolation = self._arguments
        return _Loaded(directory, isolation, allow_missing=self._allow_missing)

    @property
    def models(self) -> dict[str, str]:
        """The versions of the loaded models, by name."""
        return {name: model.version for name, model in self._open().models.items()}

    def decide(
        self,
        data: Any,
        *,
        key: str | int | None = None,
        trace: bool = False,
        schedule: str | Mapping[str, Any] | None = None,
        models: Collection[str] | None = None,
        deadline_ms: float | None = None,
        all_models: bool = False,
    ) -> Answer:
        """Return the decision on `data`; the arguments are those of `Client.decide`.

        all_models: evaluate all models, also after the decision; `Answer.scores` has all results.

        Raises RequestRefused for what a server would refuse, and InvalidCall for data that is not
        JSON. Nothing that a model does raises anything.
        """
        with self._lock:
            start_ns = time.monotonic_ns()
            loaded = self._open()
            raw, invalid = _checked(loaded, msgspec.Raw(checked_data(data)))
            if loaded.enrich is not None and not invalid:
                raw = _enriched(loaded.enrich, raw)
            name = None if key is None else key_text(key)
            chosen, request = self._request(
                loaded, start_ns, raw, name, schedule, models, deadline_ms, trace=trace
            )
            if invalid:
                return _default(request, chosen, invalid, start_ns)
            decided = loaded.decider.decide(request, chosen, all_models=all_models)
            waited_ms = (time.monotonic_ns() - start_ns) // 1000 / 1000
        return _answer(decided, waited_ms, trace=trace, all_models=all_models)

    def _request(
        self,
        loaded: _Loaded,
        start_ns: int,
        raw: msgspec.Raw,
        key: str | None,
        schedule: str | Mapping[str, Any] | None,
        models: Collection[str] | None,
        deadline_ms: float | None,
        *,
        trace: bool,
    ) -> tuple[Schedule, Request]:
        """Return the request as a proxy would write it, and its schedule. Raises RequestRefused."""
        id_ = next(self._ids)
        cohort, propensity = None, None
        asked: Any = dict(schedule) if isinstance(schedule, Mapping) else schedule
        if asked is None and loaded.cohorts.shares:
            cohort, asked, propensity = loaded.cohorts.drawn(key, id_)
        chosen = _taken(loaded.choice.choose(asked))
        if deadline_ms is not None and not deadline_ms > 0:
            raise InvalidCall(f"deadline_ms = {deadline_ms!r} is not above 0")
        sla_ms = chosen.schedule.sla_ms
        not_asked: list[str] = []
        if models is not None or not loaded.selection.asks_all:
            wanted = None if models is None else list(models)
            if wanted is not None and (failure := loaded.selection.check(wanted)) is not None:
                raise _refused(failure)
            not_asked = loaded.selection.not_asked(id_, cohort, wanted)
        return chosen.schedule, Request(
            id_,
            0,
            HOST,
            start_ns,
            HOST,
            raw,
            key,
            asked,
            cohort,
            sla_ms if deadline_ms is None else min(sla_ms, deadline_ms),
            trace,
            chosen.windows_ms,
            not_asked,
            propensity=propensity,
            names_models=models is not None,
        )

    def _open(self) -> _Loaded:
        if self._loaded is None:
            raise InvalidCall(self._why_closed)
        return self._loaded

    def reload(self) -> None:
        """Read the settings, schedules and models anew, as they are in the files now.

        If any of them cannot be used it raises what `rdv.local` raises, and nothing has changed.
        """
        with self._lock:
            old = self._open()
            self._loaded = self._load()
            old.close()

    def close(self) -> None:
        """Close the models. May be called again."""
        with self._lock:
            loaded, self._loaded = self._loaded, None
            if loaded is not None:
                loaded.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        directory, isolation = self._arguments
        return f"rdv.local({directory!r}, isolation={isolation!r})"


def _after_fork() -> None:
    for one in list(_of_this_process):
        one._after_fork()  # noqa: SLF001


_of_this_process: weakref.WeakSet[Local] = weakref.WeakSet()
os.register_at_fork(after_in_child=_after_fork)


def local(
    directory: str | os.PathLike[str],
    isolation: Isolation = "none",
    *,
    allow_missing: bool = False,
) -> Local:
    """Load a decision's directory into this process. See `Local`.

    allow_missing: a model that cannot be loaded is only missing, as in `rdv serve`; it is logged.
        Otherwise it raises ModelNotLoaded.

    Raises InvalidDecision, DecisionNotFound, InvalidSchedule and other RdvErrors.
    """
    return Local(os.fspath(directory), isolation, allow_missing=allow_missing)


def _checked(loaded: _Loaded, raw: msgspec.Raw) -> tuple[msgspec.Raw, str]:
    """Return the data with the defaults of [schema], and why the decision is the default.

    Raises RequestRefused, as `schema.on_invalid` says.
    """
    if loaded.schema is None:
        return raw, ""
    found = loaded.schema.check(raw)
    if not isinstance(found, Checked):
        return raw, ""
    on_invalid = loaded.decision.schema.on_invalid
    if found.faults and on_invalid == "reject":
        raise _refused(bad_input([found.faults]))
    is_default = bool(found.faults) and on_invalid == "default"
    return found.data, found.text()[:INVALID_CHARACTERS_MAX] if is_default else ""


def _default(request: Request, schedule: Schedule, invalid: str, start_ns: int) -> Answer:
    """Return the marked default for data that does not fit the schema."""
    waited_ms = (time.monotonic_ns() - start_ns) // 1000 / 1000
    return Answer(
        schedule.default,
        request.id,
        "default",
        None,
        None,
        f"invalid input: {invalid}",
        "bad_input",
        0,
        waited_ms,
        schedule.label,
        request.cohort,
        "local",
        () if request.trace else None,
    )


def _enriched(enrich: Enrich, raw: msgspec.Raw) -> msgspec.Raw:
    """Return the data with what the enricher adds; the data as it is if that fails."""
    try:
        return encode_model_result(enrich(orjson.loads(memoryview(raw))))
    except Exception as error:  # noqa: BLE001 - a user's code
        log.warning("the enricher failed: %s", describe(error), extra=coded("enricher_failed"))
        return raw


def _taken(chosen: ChosenSchedule | Failure) -> ChosenSchedule:
    if isinstance(chosen, Failure):
        raise _refused(chosen)
    return chosen


def _refused(failure: Failure) -> RequestRefused:
    return RequestRefused(HOST, failure.status, failure.code, failure.message)


def _answer(decided: Decided, waited_ms: float, *, trace: bool, all_models: bool) -> Answer:
    result = decided.result
    arrived = None
    if trace:
        arrived = tuple(Arrived(a.model, a.arrived_ms, a.outcome) for a in result.arrived)
    return Answer(
        orjson.loads(memoryview(result.result)),
        result.id,
        result.kind,
        result.model,
        result.version,
        result.reason,
        result.code,
        result.step,
        waited_ms,
        result.schedule,
        result.cohort,
        "local",
        arrived,
        _results(decided.scores) if all_models else None,
    )


def _results(scores: list[Score]) -> dict[str, Any]:
    return {
        score.model: orjson.loads(bytes(score.result))
        for score in scores
        if score.result is not msgspec.UNSET
    }
