"""Say what to do with a model: keep it, retire it, or let it score a sample. Pure.

Advice is given only where an interval supports it; otherwise the reason why there is none.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from rdv.analysis.measure.sides import Measured, Unmeasured

Action = Literal["keep", "retire", "sample", "try to promote", "none"]

DEFAULTS_MAX = 0.001
"""The share of requests that may get the default in addition, without the model."""
LOSS_MAX = 0.001
"""The loss of quality that may go with a model: this share of the metric's value."""
JUDGED_WANTED = 1_000
"""How many requests with a known outcome a sample should have in a period like this one."""
SHARES = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5)


@dataclass(frozen=True)
class Facts:
    """What is known of a model that is not the champion. Gains are positive where it helps."""

    name: str
    defaults_without: Measured | Unmeasured
    """How many more requests would get the default without it, as a share."""
    gain_of_mix: Measured | Unmeasured
    """How much better the mix is with it, by the metric (higher is better)."""
    gain_on_champion: Measured | Unmeasured
    """How much better it is than the champion on the same requests, by the metric."""
    level: float
    """The metric of the mix, for what counts as a small loss."""
    judged: int
    """Requests with a known outcome that both it and the champion have answered."""
    is_canary: bool = False


@dataclass(frozen=True)
class Advice:
    """What to do, and why, in one sentence. `sample` is the share of requests to score."""

    action: Action
    text: str
    sample: float | None = None


def advise(facts: Facts) -> Advice:
    """Return what the intervals support."""
    if (needed := _needed(facts)) is not None:
        return needed
    name = facts.name
    if missing := _missing(facts):
        return Advice("none", f"no advice on {name}: {missing}")
    defaults_high, gain_high = _ends(facts.defaults_without)[1], _ends(facts.gain_of_mix)[1]
    if defaults_high > DEFAULTS_MAX or gain_high > LOSS_MAX * abs(facts.level):
        return Advice("none", f"no advice on {name}: what the mix would lose without it is unsure")
    if _ends(facts.gain_on_champion)[1] < 0:
        text = "the mix loses nothing without it, and it is surely worse than the champion"
        return Advice("retire", f"retire {name}: {text}")
    return _sample(facts)


def _needed(facts: Facts) -> Advice | None:
    """Return why the model must stay, or should have a larger part; None if that is not sure."""
    name = facts.name
    low, high = _ends(facts.defaults_without)
    if facts.is_canary:
        return Advice("keep", f"keep {name}: it is the canary, to which others are compared")
    if low > DEFAULTS_MAX:
        more = f"{100 * low:.2g} to {100 * high:.2g} %"
        return Advice("keep", f"keep {name}: without it {more} more requests get the default")
    if _ends(facts.gain_of_mix)[0] > 0:
        return Advice("keep", f"keep {name}: without it the answers are surely worse")
    if _ends(facts.gain_on_champion)[0] > 0:
        text = f"try rdv promote: {name} is surely better than the champion on the same requests"
        return Advice("try to promote", text)
    return None


def _sample(facts: Facts) -> Advice:
    """Advise the smallest share that still has enough outcomes to tell the two apart later."""
    share = next((s for s in SHARES if s * facts.judged >= JUDGED_WANTED), None)
    if share is None:
        text = "the mix loses nothing without it, but it may be as good as the champion"
        return Advice("none", f"no advice on {facts.name}: {text}; a sample would tell too little")
    text = (
        f"sample {facts.name} at {100 * share:g} %: the mix loses nothing without it, and it may "
        f"be as good as the champion; of {facts.judged:,} known outcomes "
        f"{share * facts.judged:,.0f} remain"
    )
    return Advice("sample", text, share)


def _missing(facts: Facts) -> str:
    """Return what is not known, though advice would need it; empty if all is."""
    parts: Sequence[tuple[str, Measured | Unmeasured]] = (
        ("how many requests would get the default without it", facts.defaults_without),
        ("what the mix would lose without it", facts.gain_of_mix),
        ("how good it is beside the champion", facts.gain_on_champion),
    )
    for what, one in parts:
        if isinstance(one, Unmeasured) or one.interval is None:
            return f"{what} is not known: {one.reason}"
    return ""


def _ends(one: Measured | Unmeasured) -> tuple[float, float]:
    """Return the ends of an interval; everything is possible where there is none."""
    if isinstance(one, Unmeasured) or one.interval is None:
        return float("-inf"), float("inf")
    return one.interval.low, one.interval.high
