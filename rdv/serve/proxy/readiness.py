"""`/readyz` reports whether a model is up that the live schedule wants.

    200  {"status":"ready","ready_when":"model","up":["gbm"],"missing":["mlp"]}
    503  {"status":"no_model","ready_when":"model","up":[],"missing":["gbm","mlp"],"error":{…}}
    503  {"status":"draining","error":{"code":"draining","message":"…"}}

With `http.ready_when = "serving"` the marked default is good enough: then a proxy is ready as long
as it accepts requests.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Literal, NamedTuple

import msgspec
import orjson

from rdv.http import Failure
from rdv.rendezvous.schedule import Schedule
from rdv.rendezvous.topology import MODELS_TOPIC
from rdv.serve.feeds import Losses, read_all
from rdv.status.lines import decode_model_state
from rdv.stream import Stream

POLL_RECORDS_MAX = 2_000

ReadyWhen = Literal["model", "serving"]


class ModelStates:
    """Tracks which models are up, by the supervisor's records. Read on demand. One thread."""

    def __init__(self, control: Stream) -> None:
        self._consumer = control.consumer([MODELS_TOPIC])
        self._states: dict[str, str] = {}
        self._losses = Losses()

    def is_up(self, model: str, declared: Collection[str]) -> bool:
        """Return whether a model is up; without a record, whether it is declared.

        A server does the same.
        """
        state = self._states.get(model)
        return state == "up" if state is not None else model in declared

    def read(self) -> None:
        """Read the new records. Raises nothing."""
        for record in read_all(self._consumer, POLL_RECORDS_MAX, self._losses):
            try:
                line = decode_model_state(record.value)
            except msgspec.DecodeError:
                continue
            self._states[line.model] = line.state

    def close(self) -> None:
        self._consumer.close()


def wanted_models(schedule: Schedule, declared: Sequence[str]) -> list[str]:
    """Return the models that the schedule accepts in any step, in order; `*` means all. Pure."""
    names: dict[str, None] = {}
    for step in schedule.steps:
        for name in step.accept:
            names.update(dict.fromkeys(declared if name == "*" else (name,)))
    return list(names)


class Readiness(NamedTuple):
    """Contains an answer of `/readyz`."""

    status: int
    body: bytes


def readiness(wanted: Sequence[str], is_up: Callable[[str], bool], when: ReadyWhen) -> Readiness:
    """Return whether a proxy that accepts requests is ready. Pure."""
    up = [name for name in wanted if is_up(name)]
    missing = [name for name in wanted if name not in up]
    fields: dict[str, object] = {"ready_when": when, "up": up, "missing": missing}
    if up or not wanted or when == "serving":
        return Readiness(200, _body({"status": "ready", **fields}))
    reason = f"no model is up that the live schedule wants: {', '.join(missing)}"
    return _unready(Failure(503, "no_model", reason), fields)


def draining() -> Readiness:
    """Return the answer of a proxy that is stopping."""
    return _unready(Failure(503, "draining", "the proxy is stopping"), {})


def _unready(failure: Failure, fields: dict[str, object]) -> Readiness:
    """Return an answer with the error that every refusal has."""
    error = {"code": failure.code, "message": failure.message}
    return Readiness(failure.status, _body({"status": failure.code, **fields, "error": error}))


def _body(fields: dict[str, object]) -> bytes:
    return orjson.dumps(fields, option=orjson.OPT_APPEND_NEWLINE)
