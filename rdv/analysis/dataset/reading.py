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

Kind = Literal["class", "probability", "number"]

EQUAL_FIELDS = ("action", "label", "bin", "class")
NUMBER_FIELDS = ("score", "probability")
USUAL_FIELDS = (*EQUAL_FIELDS, *NUMBER_FIELDS)
WHOLE = ""
"""In place of a field's name: the answer itself, which is not an object."""
YES, NO = "1", "0"
BINARY = frozenset({YES, NO})
SAMPLE = 200
"""The number of records that are looked at, at each end of each partition."""
_MISSING = frozenset({"", "nan", "none", "null", "na", "n/a", "nat"})
_BOOLEANS = {"true": YES, "false": NO}
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?", re.ASCII)
_WHOLE_MAX = 2.0**53
_SHOWN = 5


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
    it has an error.
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
        else:
            said = f"error: {name} minus the outcome"
        return said if self.is_declared else f"{said}; inferred, as rdv.toml has no [outcome]"

    def answer_of(self, answer: Any) -> Any:
        """Return the part of an answer that counts; None if it has none."""
        return part_of(answer, self.answer)

    def truth_of(self, truth: Any) -> Any:
        """Return the part of an outcome that counts; None if it has none."""
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


def infer(
    answers: Sequence[Any], truths: Sequence[Any], declared: Outcome, on: str | None = None
) -> Reading:
    """Choose how to read these answers and outcomes. Pure.

    `on` is a field that the user has named; it precedes the declared one.
    """
    named = on if on is not None else declared.answer or None
    base = Reading(
        "class",
        named,
        declared.field,
        class_name(declared.positive) or YES,
        declared.threshold,
        _means(declared.means),
        msgspec.structs.replace(declared, metric="") != Outcome(),
        "",
        declared.mature_after_ms,
        declared.mature_as,
    )
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
