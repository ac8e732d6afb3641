"""Choose how answers and outcomes are read, by one rule for every study.

[outcome] in rdv.toml declares it. What it leaves open is inferred from some of the recorded answers
and outcomes, and `Reading.sentence` says what was inferred. Where the two cannot be compared,
`Reading.problem` says why, and outcomes are not used.

Values are compared by what they mean (`class_name`): JSON, CSV files and pandas write the same
outcome as 1, 1.0, "1", true or "True".
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import msgspec

from rdv.analysis.dataset.chunk import Chunk, read_scores
from rdv.analysis.dataset.notes import Notes
from rdv.analysis.dataset.places import Recorded
from rdv.analysis.dataset.source import Source, sources
from rdv.decision.outcome import Outcome
from rdv.payload import UnusableJson, canonical, read_recorded
from rdv.rendezvous.messages import Truth
from rdv.rendezvous.topology import OUTCOMES, SCORES

Kind = Literal["class", "probability", "number", "ranking"]

EQUAL_FIELDS = ("action", "label", "bin", "class")
NUMBER_FIELDS = ("score", "probability")
ITEM_FIELDS = ("id", "item", "item_id", "name")
GAIN_FIELDS = ("gain", "relevance", "grade", "rating")
USUAL_FIELDS = (*EQUAL_FIELDS, *NUMBER_FIELDS)
WHOLE = ""
"""In place of a field's name: the answer itself, which is not an object."""
YES, NO = "1", "0"
BINARY = frozenset({YES, NO})
SAMPLE = 200
"""The number of records that are looked at, at each end of each partition."""
CAUSED = (
    "the answer given causes the outcome (caused_by_answer in [outcome] of rdv.toml), so it says "
    "nothing about other answers"
)
"""Why answers that were not given cannot be held against such outcomes."""
_MISSING = frozenset({"", "nan", "none", "null", "na", "n/a", "nat"})
_BOOLEANS = {"true": YES, "false": NO}
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?", re.ASCII)
_WHOLE_MAX = 2.0**53
_SHOWN = 5
STRANGE_MIN = 20
"""So many outcomes that name no item of any answer are not about items."""


def class_name(value: Any) -> str | None:
    """Return the name of a class, equal for values that mean the same; None for a missing value.

    3, 3.0 and "3" are one class; true, "True" and 1 are one; null, NaN, an empty cell are missing.
    """
    if isinstance(value, str):
        return _name_of_text(value.strip())
    if isinstance(value, int | float):
        return _name_of_number(value)
    return None if value is None else canonical(value).decode()


def _name_of_text(text: str) -> str | None:
    if text.lower() in _MISSING:
        return None
    if _NUMBER.fullmatch(text):
        return _name_of_number(int(text) if text.lstrip("-").isdecimal() else float(text))
    return _BOOLEANS.get(text.lower(), text)


def _name_of_number(value: float) -> str | None:
    if not math.isfinite(value):
        return None
    is_whole = isinstance(value, int) or (value.is_integer() and abs(value) < _WHOLE_MAX)
    return str(int(value)) if is_whole else repr(value)


def number_of(value: Any) -> float:
    """Return a value as a finite number, also of a text that is one; NaN for any other value."""
    if isinstance(value, str):
        text = value.strip()
        value = float(text) if _NUMBER.fullmatch(text) else math.nan
    if not isinstance(value, int | float):
        return math.nan
    return float(value) if math.isfinite(value) else math.nan


@dataclass(frozen=True)
class Reading:
    """How answers and outcomes are read. Immutable.

    A `class` is right if it equals the outcome. A `probability` is right if it is on the same side
    of `threshold` as the outcome, which is `positive` or not. A `number` is never right or wrong;
    it has an error. A `ranking` is a list of items, the best first; the outcome says which of them
    were right: one, a list, or the gain of each.
    """

    kind: Kind
    answer: str | None = None
    """The field of the answers; WHOLE: the answer itself; None: the first of the usual fields."""
    truth: str = ""
    """The field of outcomes that are objects."""
    positive: str = YES
    threshold: float = 0.5
    means: Mapping[str, str] = field(default_factory=dict)
    is_declared: bool = False
    problem: str = ""
    """Why outcomes cannot be compared with the answers; empty if they can, or there are none."""
    mature_after_ms: int = 0
    mature_as: str = ""

    @property
    def has_right(self) -> bool:
        """Whether an answer is right or wrong."""
        return self.kind in ("class", "probability")

    def sentence(self) -> str:
        """Return how answers are judged, in words."""
        name = "the answer" if not self.answer else f'"{self.answer}"'
        if self.kind == "class":
            meant = "the outcome that it stands for is" if self.means else "it is"
            said = f"right: {meant} the outcome ({name})"
        elif self.kind == "probability":
            said = (
                f"right: {name} is {self.threshold:g} or more where the outcome is "
                f"{self.positive}, and less where it is not"
            )
        elif self.kind == "ranking":
            said = f"ranking: the items of {name}, best first, are held against the outcome's"
        else:
            said = f"error: {name} minus the outcome"
        return said if self.is_declared else f"{said}; inferred, as rdv.toml has no [outcome]"

    def answer_of(self, answer: Any) -> Any:
        """Return the part of an answer that counts; None if it has none."""
        return part_of(answer, self.answer)

    def truth_of(self, truth: Any) -> Any:
        """Return the part of an outcome that counts; None if it has none."""
        if self.kind == "ranking":
            return _gains_part(truth, self.truth)
        return _truth_of(truth, self.truth, self.answer)


def part_of(answer: Any, name: str | None) -> Any:
    """Return a field of an answer; the answer itself if it is not an object."""
    if not isinstance(answer, dict):
        return answer
    return first_of(answer, USUAL_FIELDS) if name is None else answer.get(name)


def first_of(values: Mapping[str, Any], names: Iterable[str]) -> Any:
    """Return the first of these fields that there is; None without any."""
    return next((values[name] for name in names if name in values), None)


def _truth_of(truth: Any, name: str, answer: str | None) -> Any:
    if not isinstance(truth, dict):
        return truth
    if name:
        return truth.get(name)
    if answer and answer in truth:
        return truth[answer]
    if len(truth) == 1:
        return next(iter(truth.values()))
    return first_of(truth, USUAL_FIELDS)


def _gains_part(truth: Any, name: str) -> Any:
    """Return the part of an outcome that says which items were right.

    An object without a declared field has the gain of each item, unless one of its fields is a list
    or such an object.
    """
    if not isinstance(truth, dict) or not truth:
        return truth
    if name:
        return truth.get(name)
    parts = [part for part in truth.values() if isinstance(part, list | dict)]
    return parts[0] if len(parts) == 1 else truth


def infer(
    answers: Sequence[Any], truths: Sequence[Any], declared: Outcome, on: str | None = None
) -> Reading:
    """Choose how to read these answers and outcomes. Pure.

    `on` is a field that the user has named; it precedes the declared one. Outcomes that the answer
    given causes are a problem; a study of these answers only passes `of_given_answers()`.
    """
    found = _inferred(answers, truths, declared, on)
    if declared.caused_by_answer and not found.problem:
        return replace(found, problem=CAUSED)
    return found


def _inferred(
    answers: Sequence[Any], truths: Sequence[Any], declared: Outcome, on: str | None
) -> Reading:
    named = on if on is not None else declared.answer or None
    base = Reading(
        "class",
        named,
        declared.field,
        class_name(declared.positive) or YES,
        declared.threshold,
        _means(declared.means),
        msgspec.structs.replace(declared, metric="", caused_by_answer=False) != Outcome(),
        "",
        declared.mature_after_ms,
        declared.mature_as,
    )
    if declared.type == "ranking" or (
        declared.type == "auto" and _is_ranking(answers, named, truths, declared.field)
    ):
        return _ranking(answers, base, truths)
    classes = classes_of(truths, declared.field, named)
    if truths and not classes:
        base = replace(base, problem=_no_values(declared.field))
    if declared.type == "class":
        return base
    if declared.type in ("probability", "number"):
        number = named if named is not None else number_field(answers, None)
        return replace(base, kind=declared.type, answer=number)
    if not classes:
        return replace(base, kind=_kind_alone(answers, named))
    return _matched(answers, base, classes, declared)


def _is_ranking(
    answers: Sequence[Any], named: str | None, truths: Sequence[Any], truth: str
) -> bool:
    """Return whether answers have a list where a class or a number would be, and outcomes name its
    items or are lists.
    """
    field = list_field(answers, named)
    objects = [one for one in answers if isinstance(one, dict)]
    if field is None or (named is None and any(n in one for one in objects for n in USUAL_FIELDS)):
        return False
    parts = [_gains_part(one, truth) for one in truths]
    if not parts or any(isinstance(part, list | dict) for part in parts):
        return True
    items = _items_named(parts)
    return not items <= BINARY and bool(items & _items_listed(answers, field))


def _items_named(parts: Sequence[Any]) -> set[str]:
    return {name for part in parts for name in items_of(part) or ()}


def _items_listed(answers: Sequence[Any], field: str | None) -> set[str]:
    """Return the names of the items of the answers' lists."""
    lists = [one.get(field) if isinstance(one, dict) else one for one in answers]
    found = (item_name(item) for one in lists if isinstance(one, list) for item in one)
    return {name for name in found if name is not None}


def _ranking(answers: Sequence[Any], base: Reading, truths: Sequence[Any]) -> Reading:
    field = list_field(answers, base.answer)
    found = replace(base, kind="ranking", answer=base.answer if field is None else field, means={})
    if answers and field is None:
        where = f" in the field {base.answer!r}" if base.answer else ""
        return replace(found, problem=f"a ranking needs a list{where}, and no answer has one")
    parts = [found.truth_of(truth) for truth in truths]
    named, is_known = _items_named(parts), any(items_of(part) is not None for part in parts)
    listed = _items_listed(answers, field)
    is_yes_no = not any(isinstance(part, list | dict) for part in parts) and named <= BINARY
    is_strange = bool(named and listed) and (is_yes_no or len(truths) >= STRANGE_MIN)
    if truths and (not is_known or (is_strange and not named & listed)):
        said = f" of the answers ({some_of(listed)}), they say {some_of(named)}" if named else ""
        return replace(
            found,
            problem=f"no outcome names items{said}: record the item that was right, a list of such "
            "items, or an object with the gain of each, and name their field in [outcome]",
        )
    return found


def list_field(answers: Sequence[Any], named: str | None) -> str | None:
    """Return the field of the answers that is a list, the most frequent; None if there is none."""
    counts: dict[str, int] = {}
    for answer in answers:
        parts = answer.items() if isinstance(answer, dict) else [(WHOLE, answer)]
        for name, part in parts:
            if isinstance(part, list) and named in (None, name):
                counts[name] = counts.get(name, 0) + 1
    return max(counts, key=lambda name: counts[name]) if counts else None


def items_of(truth: Any) -> dict[str, float] | None:
    """Return the gain of each item of an outcome; None if it names no items.

    One item or a list of items gain 1 each; an item of a list may be an object with its id and its
    gain. An empty list says that nothing was right. Gains are numbers of at least 0.
    """
    if isinstance(truth, dict):
        gains = {name: number_of(gain) for one, gain in truth.items() if (name := class_name(one))}
    else:
        parts = truth if isinstance(truth, list) else [truth]
        if truth is None:
            return None
        gains = {name: _gain_of(part) for part in parts if (name := item_name(part)) is not None}
        if len(gains) < len(parts) and not gains:
            return None
    return gains if all(gain >= 0 for gain in gains.values()) else None


def _gain_of(item: Any) -> float:
    if not isinstance(item, dict):
        return 1.0
    gain = first_of(item, GAIN_FIELDS)
    return 1.0 if gain is None else number_of(gain)


def item_name(item: Any) -> str | None:
    """Return the name of an item of a list, equal for 7, 7.0 and "7"; of an object, its id."""
    if isinstance(item, dict):
        known = first_of(item, ITEM_FIELDS)
        return canonical(item).decode() if known is None else class_name(known)
    return class_name(item)


def classes_of(truths: Sequence[Any], name: str, answer: str | None) -> set[str]:
    """Return the names of the classes of some outcomes."""
    parts = (class_name(_truth_of(truth, name, answer)) for truth in truths)
    return {part for part in parts if part is not None}


def _no_values(name: str) -> str:
    where = f"the field {name!r} that [outcome] of rdv.toml declares" if name else "a value"
    return f"no outcome has {where}: name the field of the truth in [outcome]"


def _means(declared: Mapping[str, str]) -> dict[str, str]:
    pairs = ((class_name(action), class_name(truth)) for action, truth in declared.items())
    return {action: truth for action, truth in pairs if action is not None and truth is not None}


def _kind_alone(answers: Sequence[Any], named: str | None) -> Kind:
    """Return how answers are compared with each other, without outcomes."""
    objects = [answer for answer in answers if isinstance(answer, dict)]
    if named is None and any(name in answer for answer in objects for name in EQUAL_FIELDS):
        return "class"
    if named is None and not objects:
        return "number" if any(isinstance(answer, float) for answer in answers) else "class"
    parts = [part for answer in objects if (part := part_of(answer, named)) is not None]
    is_number = bool(parts) and all(is_json_number(part) for part in parts)
    if named is None or named in NUMBER_FIELDS:
        return "number" if is_number else "class"
    return "number" if is_number and any(isinstance(part, float) for part in parts) else "class"


def _matched(
    answers: Sequence[Any], base: Reading, classes: set[str], declared: Outcome
) -> Reading:
    """Choose the part of the answers that has the vocabulary of the outcomes.

    Of a class and a number, the class, unless fewer answers have it: the others would be wrong.
    """
    label, named = _label_field(answers, base, classes)
    number = number_field(answers, base.answer)
    if label is not None and (
        number is None or len(_parts(answers, label)) >= len(_parts(answers, number))
    ):
        return replace(base, answer=label)
    if number is not None:
        if classes <= BINARY or (declared.positive and base.positive in classes):
            return replace(base, kind="probability", answer=number)
        if len(classes) > len(BINARY) and all(_NUMBER.fullmatch(one) for one in classes):
            return replace(base, kind="number", answer=number)
    if label is not None:
        return replace(base, answer=label)
    problem = _problem(named, number, classes)
    return replace(base, kind=_kind_alone(answers, base.answer), problem=problem)


def _label_field(
    answers: Sequence[Any], base: Reading, classes: set[str]
) -> tuple[str | None, set[str]]:
    """Return the field that names outcomes, the most frequent first; and all that is named."""
    candidates = [base.answer] if base.answer is not None else [*EQUAL_FIELDS, WHOLE]
    named = set[str]()
    for name in sorted(candidates, key=lambda name: -len(_parts(answers, name))):
        parts = _parts(answers, name)
        if any(isinstance(part, float) and not part.is_integer() for part in parts):
            continue
        own = {base.means.get(one, one) for part in parts if (one := class_name(part)) is not None}
        named |= own
        if own & classes:
            return name, named
    return None, named


def number_field(answers: Sequence[Any], named: str | None) -> str | None:
    """Return the field of the answers that is a number; None if there is none."""
    names = [named] if named is not None else [*NUMBER_FIELDS, WHOLE]
    for name in sorted(names, key=lambda name: -len(_parts(answers, name))):
        parts = _parts(answers, name)
        if parts and all(is_json_number(part) for part in parts):
            return name
    return None


def _parts(answers: Sequence[Any], name: str) -> list[Any]:
    if name == WHOLE:
        return [one for one in answers if one is not None and not isinstance(one, dict)]
    objects = (answer for answer in answers if isinstance(answer, dict))
    return [answer[name] for answer in objects if answer.get(name) is not None]


def is_json_number(value: Any) -> bool:
    """Return whether a value of JSON is a number; true and false are none."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def _problem(named: set[str], number: str | None, classes: set[str]) -> str:
    said = f"answers say {some_of(named)}" if named else "answers name no class"
    if number is not None:
        said += f" and have a number ({number or 'the answer'})"
    return (
        f"{said}, outcomes say {some_of(classes)}: declare in [outcome] of rdv.toml what they mean "
        "(positive, or means)"
    )


def some_of(names: set[str]) -> str:
    shown = sorted(names)[:_SHOWN]
    return ", ".join(shown) + (", …" if len(names) > len(shown) else "")


def choose_reading(recorded: Recorded, declared: Outcome, on: str | None = None) -> Reading:
    """Choose how to read what is recorded. Raises the log's SystemFaults."""
    return infer(sample_answers(recorded), sample_truths(recorded), declared, on)


def sample_answers(recorded: Recorded) -> list[Any]:
    """Return some recorded answers of every model, old and new ones. Raises SystemFaults."""
    found: list[Any] = []
    for chunk in _ends(recorded, SCORES):
        scores = [score for score in read_scores(chunk) if score is not None]
        found += _values(score.result for score in scores)
    return found


def sample_truths(recorded: Recorded) -> list[Any]:
    """Return some recorded outcomes, old and new ones, without those taken back. Raises
    SystemFaults.
    """
    found: list[Any] = []
    for chunk in _ends(recorded, OUTCOMES):
        found += _values(truth.outcome for truth in _read_truths(chunk))
    return [truth for truth in found if truth is not None]


def _ends(recorded: Recorded, stream: str) -> Iterable[Chunk]:
    for source in sources(recorded.stream(stream)):
        yield from _end_chunks(source)


def _end_chunks(source: Source) -> Iterable[Chunk]:
    first = min(source.end, source.begin + SAMPLE)
    yield from source.chunks(source.begin, first, Notes())
    if source.end > first:
        yield from source.chunks(max(first, source.end - SAMPLE), source.end, Notes())


def _read_truths(chunk: Chunk) -> Iterable[Truth]:
    from rdv.analysis.dataset.outcomes import read_truths

    return (truth for truth in read_truths(chunk) if truth is not None)


def _values(raws: Iterable[Any]) -> Iterable[Any]:
    for raw in raws:
        if raw is msgspec.UNSET:
            continue
        try:
            yield read_recorded(bytes(raw))
        except UnusableJson:
            continue
