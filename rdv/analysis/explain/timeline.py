"""Draw the arrivals of one request as a timeline of text. Pure; `rdv ask --trace` prints it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

WIDTH_MIN = 50
_LABEL_MAX = 24


class Marks(NamedTuple):
    """The characters that the timeline is drawn with."""

    way: str = "─"
    result: str = "●"
    other: str = "✕"
    answer: str = "▲"
    end: str = "│"


ASCII = Marks("-", "o", "x", "^", "|")


class Scale(NamedTuple):
    """A scale maps milliseconds to columns."""

    end_ms: float
    columns: int

    def column(self, at_ms: float) -> int:
        return min(self.columns - 1, max(0, round(at_ms / self.end_ms * (self.columns - 1))))


def draw_arrivals(
    answer: dict[str, Any], sla_ms: float | None, width: int = 80, marks: Marks | None = None
) -> list[str]:
    """Return a line for each report that had arrived, and one for the answer, up to `width`."""
    marks = marks or Marks()
    arrivals: Sequence[dict[str, Any]] = answer.get("trace") or []
    waited_ms = float(answer["waited_ms"])
    last_ms = max([waited_ms, *(float(a["arrived_ms"]) for a in arrivals)])
    end_ms = _nice_end(last_ms, sla_ms)
    names = [str(a["model"]) for a in arrivals]
    label_width = min(_LABEL_MAX, max(len(name) for name in [*names, "answer"]))
    notes = [_note(a, answer) for a in arrivals]
    text = f"{waited_ms:.2f} ms  {answer['kind']}"
    note_width = max(len(note) for note in [*notes, text])
    columns = max(WIDTH_MIN - label_width, width - label_width - note_width - 4)
    scale = Scale(end_ms, max(10, columns))
    lines = [f"{'ms':>{label_width}}  {_axis(scale, sla_ms)}".rstrip()]
    for arrival, name, note in zip(arrivals, names, notes, strict=True):
        at = scale.column(float(arrival["arrived_ms"]))
        mark = marks.result if arrival["outcome"] == "result" else marks.other
        bar = (marks.way * at + mark).ljust(scale.columns)
        lines.append(f"{name[:label_width]:<{label_width}}  {bar}  {note}".rstrip())
    if not arrivals:
        lines.append(f"{'':<{label_width}}  no model had reported")
    bar = (" " * scale.column(waited_ms) + marks.answer).ljust(scale.columns)
    lines.append(f"{'answer':<{label_width}}  {bar}  {text}")
    return lines


def _nice_end(last_ms: float, sla_ms: float | None) -> float:
    """Return the SLA as the end of the axis; less if everything happened in a small part of it."""
    if sla_ms is None:
        return max(last_ms * 1.1, 0.001)
    end_ms = max(sla_ms, last_ms)
    while last_ms < end_ms / 10:
        end_ms /= 2
    return max(end_ms, 0.001)


def _note(arrival: dict[str, Any], answer: dict[str, Any]) -> str:
    chosen = answer.get("model") or ""
    is_chosen = arrival["outcome"] == "result" and arrival["model"] in chosen.split("+")
    what = "" if arrival["outcome"] == "result" else f"  {arrival['outcome']}"
    return f"{float(arrival['arrived_ms']):.2f} ms{what}{'  chosen' if is_chosen else ''}"


def _axis(scale: Scale, sla_ms: float | None) -> str:
    axis = [" "] * scale.columns
    end = f"{scale.end_ms:.3g}"
    if sla_ms is not None and scale.end_ms == sla_ms:
        end += " SLA"
    elif sla_ms is not None and sla_ms > scale.end_ms:
        end += f" (SLA {sla_ms:g})"
    last = max(0, scale.columns - len(end))
    axis[last:] = end
    for part in (0.0, 0.25, 0.5, 0.75):
        at, text = scale.column(scale.end_ms * part), f"{scale.end_ms * part:.3g}"
        if at + len(text) < last:  # labels must not overlap the last one
            axis[at : at + len(text)] = text
    return "".join(axis)
