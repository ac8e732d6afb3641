"""Check `--html` of whatif and optimise."""

from __future__ import annotations

from test_cli_evaluation import fraud, run  # noqa: F401
from test_pages import check


def test_whatif_and_optimise(run, fraud, tmp_path):  # noqa: F811
    page = tmp_path / "report.html"
    code, out, err = run("whatif", fraud, "--schedule", "production", "--html", page)
    assert code == 0, err
    assert f"written: {page}" in err
    check(page.read_text(), "Recorded and what if")
    code, out, err = run("optimise", fraud, "--tries", 50, "--html", page, "--json")
    assert code == 0, err
    check(page.read_text(), "Schedules")
    assert out.startswith("{")
    # Without a terminal the output has no text charts.
    assert "│" not in run("optimise", fraud, "--tries", 50)[1]
    assert run("whatif", fraud, "--schedule", "production", "--html", tmp_path)[0] == 3
