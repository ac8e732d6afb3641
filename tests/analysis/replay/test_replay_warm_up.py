"""A model that keeps state answers as on record only if it has seen what came before."""

from __future__ import annotations

import json
import random

import msgspec
import pytest
from made_log import BEGIN_NS, PREFIX, MadeLog, MadeRequest, make_score

from rdv.__main__ import main
from rdv.rendezvous.messages import make_request_id

COUNT, GAP_MS = 600, 60_000.0
STATEFUL = """
from collections import Counter
seen = Counter()

def predict(rows):
    answers = []
    for row in rows:
        seen[row["user"]] += 1
        answers.append({"label": "often" if seen[row["user"]] > 8 else "new"})
    return answers
"""
PURE = """
def predict(rows):
    return [{"label": "odd" if row["user"] % 2 else "even"} for row in rows]
"""


def users():
    chance = random.Random(3)
    return [chance.randrange(40) for _ in range(COUNT)]


@pytest.fixture
def make(tmp_path):
    def decision(code, label_of):
        directory = tmp_path / "fraud"
        (directory / "models").mkdir(parents=True)
        settings = '[models.gbm]\npath = "models/m.py"\nbatch_max = 10\n'
        (directory / "rdv.toml").write_text(settings)
        (directory / "models" / "m.py").write_text(code)
        requests, counts = [], {}
        for number, user in enumerate(users()):
            counts[user] = counts.get(user, 0) + 1
            label = label_of(user, counts[user])
            answer = msgspec.Raw(json.dumps({"label": label}).encode())
            score = make_score(make_request_id(PREFIX, number), "gbm", result=answer)
            made = MadeRequest(number, number * GAP_MS, [(1.0, score)])
            data, message = msgspec.Raw(b'{"user":%d}' % user), made.message
            made.message = lambda message=message, data=data: msgspec.structs.replace(
                message(), data=data
            )
            requests.append(made)
        MadeLog(requests).write(directory, retention_ms=None)
        return directory

    return decision


@pytest.fixture
def run(capfd):
    def call(*words):
        capfd.readouterr()
        code = main([str(word) for word in words])
        return (code, *capfd.readouterr())

    return call


def since(number):
    """Return the time of a request, in ISO form."""
    import datetime as dt

    at = dt.datetime.fromtimestamp((BEGIN_NS + number * GAP_MS * 1e6) / 1e9, dt.UTC)
    return at.isoformat()


def stateful(user, count):
    return "often" if count > 8 else "new"


@pytest.mark.parametrize("speed", [(), ("--speed", "1000")])
def test_a_warm_up_brings_the_recorded_answers_back(make, run, speed):
    directory = make(STATEFUL, stateful)
    words = ("replay", directory, "--name", "gbm", "--since", since(COUNT // 2), "--json", *speed)
    _, out, err = run(*words)
    cold = json.loads(out)
    assert cold["own_agreement"] < 0.7
    assert cold["has_state"]
    assert "--warm-up 1h, or all" in err
    _, out, err = run(*words, "--warm-up", "all")
    warm = json.loads(out)
    assert warm["own_agreement"] == 1
    assert (warm["warmed"], warm["requests"]) == (COUNT // 2, COUNT // 2)
    assert warm["results"] == COUNT // 2
    assert warm["comparison"]["requests"] == COUNT // 2


def test_a_part_of_the_past_is_fed(make, run):
    directory = make(STATEFUL, stateful)
    words = ("replay", directory, "--name", "gbm", "--since", since(COUNT // 2), "--warm-up", "1h")
    _, out, err = run(*words, "--json")
    found = json.loads(out)
    assert found["warmed"] == 60
    assert found["own_agreement"] < 1
    assert "more may be needed (--warm-up all)" in err
    _, out, err = run(*words)
    assert "60 requests from before --since were fed first, and do not count" in out + err


def test_a_model_without_state_gets_no_warning(make, run):
    directory = make(PURE, lambda user, _: "odd" if user % 2 else "even")
    _, out, err = run("replay", directory, "--name", "gbm", "--since", since(200), "--json")
    found = json.loads(out)
    assert (found["has_state"], found["own_agreement"]) == (False, 1)
    assert "warm-up" not in err


def test_a_new_version_that_answers_otherwise_is_told_of_the_warm_up(make, run):
    directory = make(PURE, stateful)
    _, out, err = run("replay", directory, "--name", "gbm", "--since", since(200), "--json")
    assert json.loads(out)["own_agreement"] < 0.9
    assert "of the requests as it did on record" in err


def test_a_warm_up_needs_a_since(make, run):
    directory = make(PURE, stateful)
    code, _, err = run("replay", directory, "--name", "gbm", "--warm-up", "all")
    assert code == 2
    assert "needs --since" in err
    code, _, err = run("replay", directory, "--name", "gbm", "--since", "1d", "--warm-up", "soon")
    assert code == 2
