"""The facts about a request in short texts: `rdv explain` and the page show the same ones."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import orjson

from rdv.analysis.dataset.outcomes import KnownTruth
from rdv.analysis.explain.result import Explanation
from rdv.rendezvous.messages import result_code
from rdv.trace_context import caller_of


def _as_text(raw: bytes) -> str:
    return bytes(raw).decode(errors="replace")


def _unchanged(text: str) -> str:
    return text


def _ns(time_ns: int) -> str:
    return f"{time_ns} ns"


@dataclass(frozen=True)
class Shown:
    """How values of the log become text: a page may leave fields out."""

    json: Callable[[bytes], str] = _as_text
    """Of data, answers and outcomes."""
    words: Callable[[str], str] = _unchanged
    """Of everything else, such as what models say."""
    when: Callable[[int], str] = _ns
    """Of a time in ns since 1970."""


def explain_facts(found: Explanation, shown: Shown) -> list[tuple[str, str]]:
    """Return (name, text) of each fact."""
    return [(name, shown.words(text)) for name, text in _facts(found, shown)]


def _facts(found: Explanation, shown: Shown) -> list[tuple[str, str]]:
    request, result = found.request, found.answer
    asked = f"{shown.when(request.time_ns)}  {shown.json(request.data)}"
    facts = [("id", request.id), ("asked", asked)]
    if request.key is not None:
        facts.append(("key", request.key))
    if request.x_request_id:
        facts.append(("named", f"{request.x_request_id} by the client (X-Request-Id)"))
    if (caller := caller_of(request.traceparent)) is not None:
        sampled = "" if caller.is_sampled else ", not sampled"
        facts.append(("trace", f"{caller.trace_id}, below span {caller.span_id}{sampled}"))
    if (mark := request.idempotency) is not None:
        facts.append(("once", f"Idempotency-Key {mark.key} of {mark.client}"))
    facts += [("outcome", _outcome(one, shown)) for one in found.outcomes]
    if result is None:
        return [*facts, ("result", "none is recorded")]
    by = f", by {result.model} {result.version or ''}".rstrip() if result.model else ""
    if result.answered_by == "proxy":
        by = ", by the proxy itself"
    facts += [
        ("result", shown.json(result.result)),
        ("kind", f"{result.kind}{by}"),
        ("waited", f"{result.waited_ms:.3f} ms"),
        ("schedule", f"{result.schedule}, step {result.step or 'none'}"),
    ]
    if request.schedule is not None:
        wanted = request.schedule
        text = wanted if isinstance(wanted, str) else orjson.dumps(wanted).decode()
        facts.append(("wanted", text))
    facts += [
        (name, text)
        for name, text in (
            ("reason", result.reason),
            ("code", result_code(result)),
            ("cohort", result.cohort),
        )
        if text
    ]
    if found.own is not None and found.result is not None:
        late = found.result
        facts.append(
            ("too late", f"the server's {late.kind} by {late.model}, after {late.waited_ms:.3f} ms")
        )
    return facts


def _outcome(known: KnownTruth, shown: Shown) -> str:
    by = known.truth.source or "a client of rdv 0.1.0"
    return f"{shown.json(known.truth.outcome)}, recorded by {by}, {shown.when(known.time_ns)}"
