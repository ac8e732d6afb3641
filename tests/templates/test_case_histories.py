"""Check that the templates ads, recommend and retail are complete and as good as documented."""

from __future__ import annotations

import os
import subprocess
import sys

import msgspec
import orjson
import pytest

from rdv.decision import load_decision, missing_files, schedule_names
from rdv.models import open_model
from rdv.models.python_file import forget_module, load_module
from rdv.rendezvous.rules import combine_results
from rdv.rendezvous.schedule import lint_schedule, schedule_from_toml

BASICS = {"ab", "champion-only", "fast-first", "production", "qa-challenger"}
SCHEDULES = {
    "ads": {"production", "quorum", "all-shards", "popular-only"},
    "recommend": BASICS | {"blend"},
    "retail": BASICS,
}
MODELS = {
    "ads": [f"shard-{n}" for n in range(5)] + ["popular"],
    "recommend": ["factors", "neighbours", "popular"],
    "retail": ["season", "linear", "rules", "canary", "archive"],
}


@pytest.fixture(scope="module", params=sorted(MODELS))
def made(request, trained):
    report = trained.report(request.param)
    return request.param, report.directory, report


@pytest.fixture(scope="module")
def ads(trained):
    return trained.report("ads").directory


def sample(place, count=32):
    with open(os.path.join(place, "requests.jsonl"), "rb") as file:
        return [orjson.loads(line) for line in file][:count]


def enriched(place, rows):
    """Enrich rows as the proxy does, but load the file as a model's.

    This process has several enrichers, whose modules have the same names.
    """
    path, _, function = load_decision(place, {}).http.enrich.partition(":")
    module = load_module("enricher", os.path.join(place, path))
    try:
        return [getattr(module, function)(row) for row in rows]
    finally:
        forget_module(module)


def answers(place, name, rows):
    model = open_model(place, name, **load_decision(place, {}).models[name].opening())
    try:
        return model.predict(rows)
    finally:
        model.close()


def test_it_is_complete(made):
    template, place, report = made
    decision = load_decision(place, {})
    assert list(decision.models) == MODELS[template]
    assert missing_files(decision) == []
    assert set(schedule_names(place)) == SCHEDULES[template]
    assert all(model.role for model in report.models)
    with open(os.path.join(place, "README.md")) as file:
        assert "@" not in file.read()
    with open(os.path.join(place, "rdv.toml")) as file:
        text = file.read()
    for key in ("port", "enrich", "partitions", "mailboxes_max", "batch_max", "retention_ms"):
        assert f"{key} = " in text


def test_its_schedules_can_be_used(made):
    """A schedule for single requests needs no fallback; the live schedule does."""
    _, place, _ = made
    decision = load_decision(place, {})
    for name in schedule_names(place):
        with open(decision.schedule_path(name)) as file:
            schedule = schedule_from_toml(file.read(), name)
        findings = lint_schedule(schedule, decision.scoring_models())
        assert {finding.code for finding in findings} <= {"no-fallback"}
        assert not findings or name != "production"


def test_the_better_cost_more_and_are_as_good_as_promised(made):
    template, _, report = made
    values = [model.value for model in report.models]
    if template == "retail":
        assert values.pop() < values[1]  # the canary need not be accurate
    assert values == sorted(values, reverse=True)
    assert report.models[0].row_ms > report.models[2].row_ms
    least = {"ads": (0.06, 0.055, 0.025), "recommend": (0.3, 0.24, 0.04)}
    for value, bound in zip(values, least.get(template, (0.94, 0.93, 0.87)), strict=True):
        assert bound < value < 1


def test_every_model_answers_and_a_bad_row_spoils_no_other(made):
    template, place, _ = made
    rows = [row["data"] for row in sample(place)]
    if template == "ads":
        rows = enriched(place, rows)
    bad = {"user": "x", "interests": "none", "candidates": ["x"], "history": "x", "stock": "many"}
    for name in MODELS[template]:
        if name == "archive":
            continue
        outcomes = answers(place, name, [*rows, bad, rows[0]])
        assert all(isinstance(outcome, bytes) for outcome in outcomes[: len(rows)]), name
        assert isinstance(outcomes[-1], bytes)
        assert outcomes[0] == outcomes[-1] or template == "retail"


def test_the_sample_of_the_next_commands_is_answered(made):
    template, place, report = made
    (ask,) = [command for command, _ in report.next_commands if command.startswith("rdv ask")]
    row = orjson.loads(ask.partition("'")[2].rpartition("'")[0])
    rows = enriched(place, [row]) if template == "ads" else [row]
    assert isinstance(answers(place, MODELS[template][0], rows)[0], bytes)


def test_shards_share_the_candidates_and_their_lists_make_a_page(ads):
    (row,) = enriched(ads, [{"user": "u-0017", "page": "food", "mobile": True}])
    assert len(row["candidates"]) == len(set(row["candidates"])) == 1_000
    lists = [answers(ads, f"shard-{n}", [row])[0] for n in range(5)]
    pages = [orjson.loads(raw)["ads"] for raw in lists]
    for shard, page in enumerate(pages):
        assert {ad["id"] % 5 for ad in page} == {shard}
        assert {ad["id"] for ad in page} <= set(row["candidates"])
    merged = combine_results("topscore", [msgspec.Raw(raw) for raw in lists], "ads", 10)
    best = sorted((ad for page in pages for ad in page), key=lambda ad: -ad["score"])[:10]
    assert orjson.loads(bytes(merged))["ads"] == best


def test_a_shard_without_candidates_says_so(ads):
    (outcome,) = answers(ads, "shard-0", [{"user": "u-0017"}])
    assert "no candidates" in str(outcome)
    assert isinstance(answers(ads, "popular", [{"user": "u-0017"}])[0], bytes)


def test_an_unknown_user_gets_candidates_too(ads):
    known, unknown = enriched(ads, [{"user": "u-0001"}, {"user": "nobody", "page": "nowhere"}])
    assert len(unknown["candidates"]) == 1_000
    assert known["candidates"] != unknown["candidates"]


def test_no_user_is_recommended_a_known_item(trained):
    place = trained.report("recommend").directory
    row = sample(place, 1)[0]["data"]
    for name in MODELS["recommend"]:
        (outcome,) = answers(place, name, [row | {"count": 600}])
        ids = [item["id"] for item in orjson.loads(outcome)["items"]]
        assert len(ids) == len(set(ids)) == 100
        assert not set(ids) & set(row["history"])
        (outcome,) = answers(place, name, [{}])
        assert len(orjson.loads(outcome)["items"]) == 10


def test_retail_training_again_leaves_the_canary_alone_and_seasons_move_it(trained, tmp_path):
    place = str(trained.copy("retail", tmp_path / "shops"))
    canary = os.path.join(place, "models", "last_year.npz")
    before = os.stat(canary).st_mtime_ns
    run = [sys.executable, "-B", "models/train.py"]
    subprocess.run(run, cwd=place, capture_output=True, check=True)
    assert os.stat(canary).st_mtime_ns == before

    def mean(days):
        made = [sys.executable, "-B", "models/sales.py", "--n", "2000", *days]
        lines = subprocess.run(made, cwd=place, capture_output=True, check=True).stdout
        rows = [orjson.loads(line)["data"] for line in lines.splitlines()]
        scores = [orjson.loads(a)["out_of_stock"] for a in answers(place, "canary", rows)]
        return sum(scores) / len(scores)

    spring = mean(["--from-day", "90", "--to-day", "120"])
    christmas = mean(["--from-day", "340", "--to-day", "358"])
    assert christmas > spring + 0.05


def test_a_canary_answers_no_request(trained):
    place = trained.report("retail").directory
    for name in schedule_names(place):
        with open(load_decision(place, {}).schedule_path(name)) as file:
            schedule = schedule_from_toml(file.read(), name)
        for step in schedule.steps:
            assert not {"*", "canary", "archive"} & set(step.accept)
