"""One decision: why a request got its answer, with the facts of `rdv explain`."""

from __future__ import annotations

from rdv.analysis.charts import Report
from rdv.analysis.explain import Explanation, explain, find_request
from rdv.analysis.explain.facts import Shown
from rdv.analysis.explain.view import add_explanation
from rdv.console.page import parts
from rdv.console.page.hidden import Hider, without_quotes
from rdv.console.page.site import Site


def decision_view(site: Site, id_: str) -> Report:
    """Return the view of the request whose id is, begins with or ends with `id_`.

    Raises RequestNotFound, AmbiguousId, IdTooShort, NothingRecorded.
    """
    decision = site.decision()
    with site.recorded() as recorded:
        found = explain(recorded, find_request(recorded, id_, parts.when))
    report = Report(f"Request {found.request.id}", parts.when(found.request.time_ns))
    shown = shown_of(found, site.hider(decision))
    add_explanation(report, found, shown)
    report.heading("Go on from here")
    time_ns = found.request.time_ns
    links = [parts.link("Requests from then on", "/decisions", {"at": parts.iso(time_ns)})]
    key = found.request.key
    if key is not None and shown.words(key) == key:
        links.append(parts.link("Requests of the same key", "/decisions", {"q": key}))
    links.append(parts.link("Another schedule: what if", "/whatif"))
    report.add(parts.row(*links))
    report.add(
        parts.code(f"rdv explain {site.folder} {found.request.id}", "The same in a terminal")
    )
    return report


def shown_of(found: Explanation, hider: Hider) -> Shown:
    """Return how this request's values are shown: without what is hidden, nowhere."""
    outcomes = [bytes(one.truth.outcome) for one in found.outcomes]
    quoted = hider.quoted(bytes(found.request.data), *outcomes)
    return Shown(
        lambda raw: without_quotes(hider.json(bytes(raw)), quoted),
        lambda text: without_quotes(text, quoted),
        parts.when,
    )
