"""Answers a step's two questions (which models have won, can any still win?), and combines answers.

Pure; off the fastest path, which is one accepted answer in a step that needs one (`Engine.score`).
Answers are ordered by rank, the best first. Parts that cannot be combined are taken from the
best-ranked.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Collection, Sequence
from collections.abc import Set as AbstractSet
from typing import Any

import msgspec
import orjson
from msgspec import UNSET

from rdv.rendezvous.mailbox import Mailbox
from rdv.rendezvous.messages import Score
from rdv.rendezvous.plan import NOT_ACCEPTED, PlanStep
from rdv.rendezvous.schedule import Combine

_NUMBERS, _OBJECT, _LIST = {int, float}, {dict}, {list}
"""The types of parsed JSON; a bool is no number."""

_RANK_CONSTANT = 60
"""The constant of reciprocal rank fusion: Cormack, Clarke, Buettcher, SIGIR 2009. It needs no
scores that are comparable between models, only the order of each list."""


def find_winners(box: Mailbox, live: AbstractSet[str]) -> list[Score]:
    """Return the answers that the step takes, best rank first; empty while there are too few.

    Of equal rank (all that "*" stands for), the earlier one is better.
    """
    step, arrived = box.step, box.arrived
    if len(arrived) < step.needs_min:
        return []
    ranked = [
        (rank, order, score)
        for order, (_, score) in enumerate(arrived.values())
        if score.result is not UNSET and (rank := step.rank(score.model)) != NOT_ACCEPTED
    ]
    if not ranked or len(ranked) < _needed(step, live, arrived.keys()):
        return []
    return [score for _, _, score in sorted(ranked, key=lambda item: item[:2])]


def cannot_be_met(box: Mailbox, live: AbstractSet[str], dead: AbstractSet[str]) -> bool:
    """Return whether the step cannot get the answers that it needs any more, however long it waits.

    It can while enough of the models that it accepts have answered, or may yet: they have not
    reported and are not known to be dead. A step that accepts any model is not given up while no
    model is known.
    """
    step, arrived = box.step, box.arrived
    if step.accepts_others:
        if not live and not dead:
            return False
    elif step.is_single and not arrived and dead.isdisjoint(step.names):
        return False  # the usual start of a step
    if step.accepts_others:
        candidates: Collection[str] = step.candidates(live, arrived.keys())
        needed = step.needed(len(candidates))
    else:
        candidates, needed = step.names, step.needs_min
    possible = 0
    for name in candidates:
        report = arrived.get(name)
        possible += name not in dead if report is None else report[1].result is not UNSET
    return possible < needed


def _needed(step: PlanStep, live: AbstractSet[str], reported: AbstractSet[str]) -> int:
    if step.is_single or not step.accepts_others:
        return step.needs_min
    return step.needed(len(step.candidates(live, reported)))


def combine_results(
    how: Combine, results: Sequence[msgspec.Raw], on: str | None = None, top: int | None = None
) -> msgspec.Raw | None:
    """Return the combined answer of at least one result; None when they cannot be combined."""
    if how == "best":
        return results[0]
    try:
        values = [orjson.loads(memoryview(result)) for result in results]
        if how == "vote":
            return results[_vote([_field(value, on) for value in values])]
        return msgspec.Raw(orjson.dumps(_combine(how, values, on, top)))
    except (ValueError, OverflowError, TypeError, RecursionError):
        return None


def _combine(how: Combine, values: list[Any], on: str | None, top: int | None) -> Any:
    if how in ("topk", "topscore"):
        merge = _merge if how == "topk" else _merge_by_score
        merged = merge([_field(value, on) for value in values], top)
        return merged if on is None else {**values[0], on: merged}
    return _blend(values, _mean if how == "mean" else statistics.median)


def _field(value: Any, on: str | None) -> Any:
    """Return the part of an answer that is combined. Raises ValueError when it is missing."""
    if on is None:
        return value
    if not isinstance(value, dict) or on not in value:
        raise ValueError(f"no field {on!r}")
    return value[on]


def _blend(values: list[Any], reduce: Callable[[list[float]], float]) -> Any:
    """Reduce numbers at any depth; take other parts from the first answer that has them."""
    first, kinds = values[0], set(map(type, values))
    if kinds <= _NUMBERS:
        reduced = reduce(values)
        if not math.isfinite(reduced):
            raise ValueError("too large")
        return reduced
    if kinds == _OBJECT:
        return {
            key: _blend([value[key] for value in values if key in value], reduce) for key in first
        }
    if kinds == _LIST and len(set(map(len, values))) == 1:
        return [_blend(list(items), reduce) for items in zip(*values, strict=True)]
    return first


def _mean(values: list[float]) -> float:
    return math.fsum(values) / len(values)


def _vote(values: list[Any]) -> int:
    """Return the index of the most frequent value; among equals that of the best-ranked one."""
    ballots = [orjson.dumps(value, option=orjson.OPT_SORT_KEYS) for value in values]
    return max(range(len(ballots)), key=lambda place: (ballots.count(ballots[place]), -place))


def _merge(lists: list[Any], top: int | None) -> list[Any]:
    """Merge lists by reciprocal rank fusion; an item comes from the best-ranked list that has it.

    Items are ids, [id, …] or {"id": …}.
    """
    if not all(isinstance(items, list) for items in lists):
        raise ValueError("not a list")
    weights: dict[bytes, float] = {}
    kept: dict[bytes, Any] = {}
    for items in lists:
        for place, (id_, item) in enumerate(_distinct(items).items()):
            weights[id_] = weights.get(id_, 0.0) + 1 / (_RANK_CONSTANT + place + 1)
            kept.setdefault(id_, item)
    length = max(map(len, lists)) if top is None else top
    order = sorted(weights, key=lambda id_: -weights[id_])  # stable: equals by rank and place
    return [kept[id_] for id_ in order[:length]]


def _merge_by_score(lists: list[Any], top: int | None) -> list[Any]:
    """Return the items with the highest scores: {"id": …, "score": n} or [id, n].

    Of an item in several lists, the highest score counts; of equals, the item of the best-ranked
    list comes first.
    """
    if not all(isinstance(items, list) for items in lists):
        raise ValueError("not a list")
    scores: dict[bytes, float] = {}
    kept: dict[bytes, Any] = {}
    for item in (item for items in lists for item in items):
        id_, score = _item_id(item), _item_score(item)
        if id_ not in scores or score > scores[id_]:
            scores[id_], kept[id_] = score, item
    length = max(map(len, lists)) if top is None else top
    order = sorted(scores, key=lambda id_: -scores[id_])  # stable
    return [kept[id_] for id_ in order[:length]]


def _item_score(item: Any) -> float:
    """Return the item's score. Raises ValueError when it has none."""
    if isinstance(item, dict):
        score = item.get("score")
    else:
        score = item[1] if isinstance(item, list) and len(item) > 1 else None
    if not isinstance(score, (int, float)) or isinstance(score, bool):
        raise ValueError("no score")  # noqa: TRY004  as everything that cannot be combined
    return float(score)


def _distinct(items: list[Any]) -> dict[bytes, Any]:
    distinct: dict[bytes, Any] = {}
    for item in items:
        distinct.setdefault(_item_id(item), item)
    return distinct


def _item_id(item: Any) -> bytes:
    if isinstance(item, dict) and "id" in item:
        item = item["id"]
    elif isinstance(item, list) and item:
        item = item[0]
    return orjson.dumps(item)
