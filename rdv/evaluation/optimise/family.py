"""The candidates differ in the first model, how long it is alone, and the order of the others.
Pure.

Either all models from the start, by rank; or the first alone until t1, then all; or the first alone
until t1, the first two until t2, then all. If 99 % have to be answered before the SLA, each of them
also exists with an earlier end.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations, permutations
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from rdv.schedule import OTHERS, Schedule, Step, schedule_from_object
from rdv.schedule.model import content

GRID_MAX, GRID_MIN = 32, 4


def grid_ms(
    answers_us: npt.NDArray[np.int64], sla_ms: float, models: int, tries: int
) -> list[float]:
    """Return times at which steps may end, to 0.1 ms, as many as make about `tries` candidates.

    Half of them are quantiles of the answers' arrivals, half are spread evenly in time.
    """
    orders = 1
    for number in range(2, models + 1):
        orders *= number
    count = GRID_MIN
    while count < GRID_MAX and orders * (1 + (count + 1) + (count + 1) * count // 2) <= tries:
        count += 1
    within = answers_us[answers_us < sla_ms * 1000]
    if not len(within):
        return []
    # Half of them are evenly spaced in time, half are evenly spaced in answers.
    shares = np.linspace(0.02, 0.98, count - count // 2)
    low, high = np.quantile(within, [0.02, 0.99])
    times = [*np.quantile(within, shares), *np.linspace(low, high, count // 2)]
    ends = sorted({round(float(time) / 1000, 1) for time in times})
    return [end for end in ends if 0 < end < sla_ms]


def candidates(
    models: Sequence[str],
    ends_ms: Sequence[float],
    live: Schedule,
    *,
    everybody: bool,
    give_up_ms: float | None = None,
) -> Iterator[Schedule]:
    """Yield all schedules of the family. `everybody`: the last step accepts any model ("*").

    `give_up_ms`: each schedule also with a last step that ends then, when the default is given.
    """
    for last_ms in (None, give_up_ms) if give_up_ms is not None else (None,):
        ends = [end for end in ends_ms if last_ms is None or end < last_ms]
        for order in permutations(models):
            rest = Step([*order, OTHERS] if everybody else list(order), last_ms)
            for steps in _beginnings(order, ends):
                yield _schedule(live, [*steps, rest])


def _beginnings(order: Sequence[str], ends_ms: Sequence[float]) -> Iterator[list[Step]]:
    """Yield the steps before the last one."""
    yield []
    for first in ends_ms:
        yield [Step([order[0]], first)]
    if len(order) > 2:  # noqa: PLR2004  with two, the middle step is the last one
        for first, second in combinations(ends_ms, 2):
            yield [Step([order[0]], first), Step(list(order[:2]), second)]


def _schedule(live: Schedule, steps: list[Step]) -> Schedule:
    return msgspec.structs.replace(live, steps=steps, name="candidate", content_hash="")


def to_toml(schedule: Schedule, remark: str) -> str:
    """Return the text of a schedule file; `remark` may have several lines."""
    lines = [f"# {line}".rstrip() for line in remark.splitlines()]
    lines.append(f"sla_ms = {schedule.sla_ms:g}")
    if schedule.default is not None:
        lines.append(f"default = {_toml(schedule.default)}")
    for step in content(schedule)["step"]:
        lines += ["", "[[step]]", *(f"{key} = {_toml(value)}" for key, value in step.items())]
    return "\n".join(lines) + "\n"


def _toml(value: Any) -> str:
    if isinstance(value, dict):
        inner = ", ".join(f"{_string(str(key))} = {_toml(item)}" for key, item in value.items())
        return "{ " + inner + " }"
    if isinstance(value, list):
        return "[" + ", ".join(_toml(item) for item in value) + "]"
    if isinstance(value, str):
        return _string(value)
    return str(value).lower() if isinstance(value, bool) else repr(value)


def _string(text: str) -> str:
    """Return a basic string of TOML, which is a JSON string except for DEL."""
    return msgspec.json.encode(text).decode().replace("\x7f", "\\u007f")


def named(schedule: Schedule, name: str) -> Schedule:
    """Return the same schedule under this name, checked, with its hash."""
    return schedule_from_object(content(schedule), name)
