"""Search decisions: by id, key, time, kind, or where champion and challenger disagree."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import msgspec
import numpy as np
import numpy.typing as npt

from rdv.analysis.charts import Report
from rdv.analysis.charts.markup import Markup, tag
from rdv.analysis.dataset.join import Join
from rdv.analysis.dataset.joined import KIND_CODES, KINDS, RESULT, Joined
from rdv.analysis.errors import AmbiguousId, NothingRecorded, RequestNotFound
from rdv.analysis.explain import find_request
from rdv.analysis.explain.study import DIGITS_MIN
from rdv.console.page import parts
from rdv.console.page.hidden import Hider, without_quotes
from rdv.console.page.latest import LastRequests
from rdv.console.page.respond import Elsewhere, Found
from rdv.console.page.site import Site
from rdv.decision import Decision
from rdv.decision.schedules import read_schedule
from rdv.errors import RdvError
from rdv.named_times import bound_of
from rdv.rendezvous.schedule import OTHERS

SHOWN_MAX = 50
MINUTE_NS = 60 * 10**9
_KINDS = (("", "any"), ("preferred", "preferred"), ("fallback", "fallback"), ("default", "default"))
_ID = re.compile(r"[0-9A-Fa-f-]{1,36}")
Rows = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Search:
    """What is searched for, as in the address of the view."""

    text: str = ""
    """An id, its first or last digits, or a key."""
    at: str = ""
    kind: str = ""
    is_disagreement: bool = False
    challenger: str = ""
    before: str = ""
    """The place in the list where the next page begins."""

    @classmethod
    def of(cls, query: Mapping[str, str]) -> Search:
        """Return the search of an address; what it does not know counts as not given."""
        kind = query.get("kind", "")
        before = query.get("before", "")
        return cls(
            query.get("q", "").strip(),
            query.get("at", "").strip(),
            kind if kind in KINDS else "",
            query.get("disagree", "") == "1",
            query.get("challenger", ""),
            before if before.isascii() and before.isdigit() and len(before) < 10 else "",  # noqa: PLR2004
        )

    def query(self, **changes: str) -> dict[str, str]:
        """Return the parameters of this search, some of them changed."""
        return {
            "q": self.text,
            "at": self.at,
            "kind": self.kind,
            "disagree": "1" if self.is_disagreement else "",
            "challenger": self.challenger,
        } | changes


def decisions_view(site: Site, search: Search) -> Found:
    """Return the list of what is found; one request that was named by its id is shown at once.

    Raises InvalidQuantity for a time that cannot be read, NothingRecorded.
    """
    last = site.latest.get()
    if search.text and (id_ := _named(site, last, search.text)):
        return Elsewhere(parts.decision_path(id_))
    decision = last.decision
    joined = last.joined if not search.at else _from_time(site, last, search.at)
    report = Report("Decisions", _subtitle(last, search))
    champion = _champion(decision)
    others = _challengers(last, champion)
    report.add(_form(search, others))
    if joined is None:
        report.paragraphs(["No request was recorded in the hour from then on."])
        return report
    pair = _pair(search, champion, others) if search.is_disagreement else None
    hider = site.hider(site.decision())
    rows = _found(joined, last, search, pair)
    if search.text and hider:
        rows = _with_seen_key(joined, rows, hider)
    _add_rows(report, joined, rows, search, hider, pair)
    return report


def _named(site: Site, last: LastRequests, text: str) -> str:
    """Return the whole id if the text is, begins or ends exactly one; empty if it does not."""
    if len(text) < DIGITS_MIN or not _ID.fullmatch(text):
        return ""
    if (last.joined.ids == text.encode()).any():
        return text
    # The whole log is read: only for what looks like an id.
    with site.recorded() as recorded:
        try:
            return find_request(recorded, text).request.id
        except (RequestNotFound, AmbiguousId):
            return ""


def _from_time(site: Site, last: LastRequests, at: str) -> Joined | None:
    """Return the first requests from a time on; None if there is none in the hour after it."""
    since_ns = bound_of(at, site.now_ns()).time_ns
    with site.recorded() as recorded, last.lock:
        for span_ns in (MINUTE_NS, 60 * MINUTE_NS):
            join = Join(
                recorded, since_ns, since_ns + span_ns, requests_max=10 * SHOWN_MAX,
                extract=last.measure.extract,
            )  # fmt: skip
            try:
                return next(iter(join), None)
            except NothingRecorded:
                continue
    return None


def _subtitle(last: LastRequests, search: Search) -> str:
    if search.at:
        return f"From {search.at} on"
    return f"The last {len(last):,} requests, {parts.span_of(last)}"


def _champion(decision: Decision) -> str:
    """Return the model that the live schedule prefers; empty if it cannot be read."""
    try:
        first = read_schedule(decision).steps[0].accept
    except RdvError:
        return ""
    return first[0] if first and first[0] != OTHERS else ""


def _challengers(last: LastRequests, champion: str) -> list[str]:
    """Return the other models that have answered, the most frequent first."""
    counts = (last.joined.outcome == RESULT).sum(axis=1)
    order = np.argsort(-counts, kind="stable").tolist()
    names = [last.joined.models[n] for n in order if counts[n]]
    return [name for name in names if name != champion]


def _pair(search: Search, champion: str, others: list[str]) -> tuple[str, str] | None:
    """Return the two models that are compared; None if there are no two."""
    challenger = search.challenger if search.challenger in others else next(iter(others), "")
    return (champion, challenger) if champion and challenger else None


def _form(search: Search, others: list[str]) -> Markup:
    return parts.form(
        "/decisions",
        parts.field("Id or key", "q", search.text, autocomplete="off", spellcheck="false"),
        parts.field("From (UTC)", "at", search.at, placeholder="11:37, 10m, 2026-05-01T14:30"),
        parts.choice("Kind", "kind", _KINDS, search.kind),
        parts.choice(
            "Challenger", "challenger", [(name, name) for name in others], search.challenger
        )
        if others
        else Markup(""),
        parts.check("Champion and challenger disagree", "disagree", is_on=search.is_disagreement),
        parts.button("Search", class_="main"),
        role="search",
    )


def _found(
    joined: Joined, last: LastRequests, search: Search, pair: tuple[str, str] | None
) -> Rows:
    """Return what is found: newest first, from a time on in order, or most apart first."""
    found = np.ones(len(joined), bool)
    if search.text:
        found &= joined.key.fill_null("").to_numpy(zero_copy_only=False) == search.text
    if search.kind:
        found &= joined.kind == KIND_CODES[search.kind]
    if search.is_disagreement:
        if pair is None or joined.value is None:
            return np.empty(0, np.int64)
        return _apart(joined, last, found, pair)
    rows = np.flatnonzero(found)
    return rows if search.at else rows[::-1]


def _with_seen_key(joined: Joined, rows: Rows, hider: Hider) -> Rows:
    """Return the requests whose key is shown: what is hidden cannot be searched for either."""
    return np.array([row for row in rows.tolist() if _is_key_seen(joined, row, hider)], np.int64)


def _is_key_seen(joined: Joined, row: int, hider: Hider) -> bool:
    request = joined.request(row)
    key = request.key or ""
    return without_quotes(key, hider.quoted(bytes(request.data))) == key


def _apart(
    joined: Joined, last: LastRequests, found: npt.NDArray[np.bool_], pair: tuple[str, str]
) -> Rows:
    """Return where the two models disagree: those whose numbers are most apart first."""
    assert joined.value is not None
    if not set(pair) <= set(joined.models):
        return np.empty(0, np.int64)
    a, b = (joined.value[joined.models.index(name)] for name in pair)
    reading = last.measure.extract.reading
    if reading.kind == "probability":
        found = found & ((a >= reading.threshold) != (b >= reading.threshold))
    rows = np.flatnonzero(found & ~np.isnan(a) & ~np.isnan(b) & (a != b))
    if not last.measure.extract.is_number:
        return rows[::-1]
    return rows[np.argsort(-np.abs(a[rows] - b[rows]), kind="stable")]


def _add_rows(
    report: Report, joined: Joined, rows: Rows, search: Search, hider: Hider,
    pair: tuple[str, str] | None,
) -> None:  # fmt: skip
    start = int(search.before or 0)
    shown = rows[start : start + SHOWN_MAX].tolist()
    if not shown:
        report.paragraphs(["Nothing was found. Try other words or another kind."])
        return
    columns = ["time (UTC)", "id", "key", "kind", "model", "waited (ms)"]
    columns += list(pair) if pair else ["answer"]
    report.table([*columns, "data"], [_cells(joined, row, hider, pair) for row in shown])
    after = start + SHOWN_MAX
    links = []
    if start:
        before = str(max(0, start - SHOWN_MAX) or "")
        links.append(parts.link("← Before", "/decisions", search.query(before=before)))
    if after < len(rows):
        links.append(parts.link("More →", "/decisions", search.query(before=str(after))))
    said = f"{start + 1:,} to {start + len(shown):,} of {len(rows):,}"
    report.add(parts.row(tag("span", said, class_="status num"), *links))


def _cells(joined: Joined, row: int, hider: Hider, pair: tuple[str, str] | None) -> list[object]:
    request = joined.request(row)
    answer = joined.own_answer(row) or joined.server_result(row)
    kind = KINDS[int(joined.kind[row])] or ""
    quoted = hider.quoted(bytes(request.data))
    answers: list[object] = []
    if pair:
        answers = [_said(joined, name, row, hider, quoted) for name in pair]
    else:
        answers = [_answer(bytes(answer.result), hider, quoted) if answer else None]
    return [
        parts.clock_time(int(joined.append_ns[row])),
        parts.decision_link(joined.id(row)),
        None if request.key is None else parts.cut_cell(without_quotes(request.key, quoted), 24),
        parts.kind_mark(kind),
        joined.model.at(row),
        None if answer is None else float(joined.waited_ms[row]),
        *answers,
        parts.cut_cell(hider.json(bytes(request.data))),
    ]


def _answer(raw: bytes, hider: Hider, quoted: Sequence[str]) -> Markup:
    return parts.cut_cell(without_quotes(hider.json(raw), quoted), 60)


def _said(
    joined: Joined, model: str, row: int, hider: Hider, quoted: Sequence[str]
) -> Markup | None:
    score = joined.score(joined.models.index(model), row)
    if score is None or isinstance(score.result, msgspec.UnsetType):
        return None
    return _answer(bytes(score.result), hider, quoted)
