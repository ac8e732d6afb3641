"""A cohort that explores: each request is drawn by its id, and the record can be drawn again."""

from __future__ import annotations

import shutil

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from running import MODELS, Client, Decision, write_decision

from rdv.analysis.dataset.join import read_joined
from rdv.analysis.dataset.places import Recorded
from rdv.analysis.verify import verify
from rdv.decision import InvalidDecision, parse_decision
from rdv.rendezvous.messages import decode_request, decode_result
from rdv.rendezvous.schedule.cohort import Assigned, Cohorts, is_drawn
from rdv.stream import open_stream

EXPLORE = '[cohorts]\nsalt = "s"\n[cohorts.try]\nshare = 1.0\nschedule = "other"\nexplore = 0.25\n'
OTHER = 'sla_ms = 2000\ndefault = 0\n[[step]]\naccept = ["mlp"]\n'
COUNT = 120


@pytest.fixture(scope="module")
def explored(tmp_path_factory):
    """A decision that has answered with and without keys, and what its clients were told."""
    directory = tmp_path_factory.mktemp("explored") / "fraud"
    port = write_decision(directory, more=EXPLORE)
    (directory / "schedules" / "other.toml").write_text(OTHER)
    decision = Decision(directory, port)
    try:
        decision.start("server", *MODELS, "proxy-0")
        decision.await_ready()
        with Client(port) as client:
            answers = []
            for number in range(COUNT):
                body = {"data": {}} | ({"key": f"user-{number % 7}"} if number % 2 else {})
                answers.append(client.post(body)[1])
            named = client.post({"data": {}, "schedule": "other"})[1]
    finally:
        decision.close()  # and verifies what is recorded
    return decision, answers, named


def test_requests_and_results_carry_the_probability_of_their_schedule(explored):
    decision, answers, named = explored
    requests = {one.id: one for _, line in decision.lines("input") if (one := decode_request(line))}
    results = {one.id: one for _, line in decision.lines("results") if (one := decode_result(line))}
    drawn = 0
    for answer in answers:
        request, result = requests[answer["id"]], results[answer["id"]]
        is_other = is_drawn(answer["id"], "s", "try", 0.25)
        drawn += is_other
        assert answer["schedule"].startswith("other@" if is_other else "production@")
        assert answer["cohort"] == request.cohort == ("try" if is_other else None)
        assert request.propensity == result.propensity == (0.25 if is_other else 0.75)
        assert answer["propensity"] == request.propensity
    assert 0 < drawn < COUNT / 2
    # A request that names its schedule is not drawn.
    assert requests[named["id"]].propensity is results[named["id"]].propensity is None
    assert "propensity" not in named


def test_a_key_is_drawn_anew_for_each_request(explored):
    _, answers, _ = explored
    of_one = {answer["cohort"] for number, answer in enumerate(answers) if number % 14 == 1}
    assert of_one <= {"try", None}
    assert {answer["cohort"] for answer in answers[1::2]} == {"try", None}


def test_the_join_has_the_probabilities(explored):
    decision, answers, _ = explored
    joined, _ = read_joined(str(decision.directory))
    found = {joined.id(row): float(joined.propensity[row]) for row in range(len(joined))}
    assert [found[answer["id"]] for answer in answers] == [
        0.25 if answer["cohort"] else 0.75 for answer in answers
    ]


def verified(directory):
    with Recorded(str(directory)) as recorded:
        return verify(recorded)


def test_verify_makes_every_draw_again(explored, tmp_path):
    directory = explored[0].directory
    assert verified(directory).differing == 0
    for changed in (
        (b'"propensity":0.25', b'"propensity":0.35'),
        (b'"cohort":"try"', b'"cohort":"tru"'),
    ):
        copy = tmp_path / changed[1].decode().strip('"').replace(":", "").replace('"', "")
        copy.mkdir()
        for name in ("scores", "control"):
            shutil.copytree(directory / name, copy / name)
        for name in ("input", "results"):
            with (
                open_stream(str(directory / name), look=True) as old,
                open_stream(str(copy / name)) as new,
                new.producer() as producer,
            ):
                for topic in old.topics():
                    with old.consumer([topic], start="earliest") as consumer:
                        for record in consumer.poll(10_000):
                            producer.send(topic, record.value.replace(*changed), partition=0)
        found = verified(copy)
        assert found.differing > 0
        assert set(found.differences[0].fields) <= {"cohort", "propensity"}


@given(st.none() | st.text(max_size=9), st.text(min_size=1, max_size=32), st.floats(0, 1))
def test_a_draw_is_stable_and_its_probabilities_are_those_of_the_setting(key, id_, explore):
    cohorts = Cohorts("salt", {"a": 0.4, "b": 0.6}, {"a": "x", "b": "y"}, {"a": explore or 0.5})
    found = cohorts.drawn(key, id_)
    assert found == cohorts.drawn(key, id_)
    share = explore or 0.5
    assert found in (
        Assigned("a", "x", share),
        Assigned(None, None, 1 - share),
        Assigned("b", "y"),
        Assigned(),
    )
    if key is not None:
        assert (cohorts.group(key, id_) == "a") == (found.propensity is not None)
        assert cohorts.group(key, id_) == cohorts.group(key, "another")


def test_draws_have_their_share_and_are_independent_of_the_cohorts_keys():
    cohorts = Cohorts("salt", {"a": 0.5}, {"a": "x"}, {"a": 0.1})
    of_key = [cohorts.drawn("one", f"{n:032x}") for n in range(20_000)]
    if cohorts.group("one", "") is None:
        of_key = [cohorts.drawn("two", f"{n:032x}") for n in range(20_000)]
    without = [cohorts.drawn(None, f"{n:032x}") for n in range(20_000)]
    assert 0.09 < sum(one.cohort == "a" for one in of_key) / 20_000 < 0.11
    inside = [one for one in without if one.propensity is not None]
    assert 0.48 < len(inside) / 20_000 < 0.52
    assert 0.08 < sum(one.cohort == "a" for one in inside) / len(inside) < 0.12


@pytest.mark.parametrize("wrong", ["-0.1", "1.5", '"x"', "nan"])
def test_a_wrong_share_is_refused_by_name(wrong):
    with pytest.raises(InvalidDecision, match=r"cohorts\.a\.explore"):
        parse_decision(f"[cohorts.a]\nshare = 1\nschedule = 'x'\nexplore = {wrong}\n", "x")


def test_the_cohorts_on_record_say_how_much_they_explore(explored):
    lines = [orjson.loads(line) for _, line in explored[0].lines("control", ["cohorts"])]
    assert lines[-1]["cohorts"]["try"]["explore"] == 0.25
