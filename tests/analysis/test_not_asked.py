"""Check requests that do not ask every model: a model that is not asked counts as refusing."""

from __future__ import annotations

import pytest
from made_log import PRODUCTION, MadeLog, make_requests

from rdv.analysis.dataset.join import read_joined
from rdv.analysis.dataset.joined import NOT_SAMPLED
from rdv.analysis.dataset.places import Recorded
from rdv.analysis.explain import explain, find_request
from rdv.analysis.verify import verify
from rdv.analysis.whatif.study import what_if


@pytest.fixture
def log(tmp_path):
    """Write a log in which every third request does not ask gbm; once gbm still answers."""
    requests = make_requests(300)
    for made in requests[::3]:
        made.not_asked = ("gbm",)
        if made.number != 30:
            made.reports = [report for report in made.reports if report[1].model != "gbm"]
    log = MadeLog(requests)
    log.write(tmp_path)
    return log


def test_they_are_joined_and_verified(tmp_path, log):
    joined, notes = read_joined(str(tmp_path))
    gbm = joined.models.index("gbm")
    rows = {joined.id(row): row for row in range(len(joined))}
    for made in log.requests[::3]:
        row = rows[made.id]
        assert joined.outcome[gbm, row] == NOT_SAMPLED
        assert (joined.arrival_us[gbm, row], joined.is_exact[gbm, row]) == (0, True)
    assert notes.missing_scores == 0
    assert notes.arrival_error_ms < 0.01
    with Recorded(str(tmp_path)) as recorded:
        found = verify(recorded)
        assert (found.same, found.differing, dict(found.unchecked)) == (300, 0, {})


def test_what_if_and_explain(tmp_path, log):
    with Recorded(str(tmp_path)) as recorded:
        found = what_if(recorded, PRODUCTION)
        assert found.changed_model == 0
        assert found.recorded.kinds == found.new.kinds
        story = explain(recorded, find_request(recorded, log.requests[33].id))
    assert (story.reports[0].model, story.reports[0].outcome) == ("gbm", "not sampled")
    assert story.steps[0].end_ms == 0
    assert story.steps[0].ended == "no model is left to wait for"
