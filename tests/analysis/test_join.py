"""Check that the join yields each request once, with the report of each model and its time."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest
from fake_clock import FakeClock
from made_log import BEGIN_NS, MODELS, MadeLog, MadeRequest, make_requests, make_score

from rdv.analysis.dataset.join import HORIZON_NS, Join, read_joined
from rdv.analysis.dataset.joined import (
    ABSENT,
    NEVER_US,
    NO_RESULT,
    NOT_SAMPLED,
    OUTCOMES,
    RESULT,
    concat_joined,
)
from rdv.analysis.dataset.places import Recorded
from rdv.analysis.dataset.reading import Reading
from rdv.analysis.dataset.values import Extract
from rdv.analysis.errors import NothingRecorded
from rdv.rendezvous.messages import encode_score, score_outcome
from rdv.stream import open_stream


def joined_of(directory, **options):
    with Recorded(str(directory)) as recorded:
        join = Join(recorded, **options)
        return concat_joined(list(join)), join.notes


def append(directory, stream, topic, *lines, at_ns=None, partition=0):
    clock = FakeClock()
    with open_stream(str(directory / stream), clock=clock) as opened, opened.producer() as producer:
        clock.move_to(BEGIN_NS + 10**12 if at_ns is None else at_ns)
        producer.send_many(topic, list(lines), partition=partition)


def check_against(joined, log):
    """Check row by row that the join equals what was made."""
    by_id = {made.id: made for made in log.requests}
    assert {joined.id(row) for row in range(len(joined))} == set(by_id)
    for row in range(len(joined)):
        made, result = by_id[joined.id(row)], log.results[joined.id(row)]
        assert joined.request(row) == made.message()
        assert joined.server_result(row) == result
        assert joined.model.at(row) == result.model
        assert joined.waited_ms[row] == result.waited_ms
        assert joined.label.at(row) == result.schedule
        recorded = {arrival.model: arrival.arrived_ms for arrival in result.arrived}
        said = {score.model: (at_ms, score) for at_ms, score in made.reports}
        for number, model in enumerate(joined.models):
            arrival_us = joined.arrival_us[number, row]
            if model not in said:
                assert arrival_us == NEVER_US
                assert joined.outcome[number, row] == ABSENT
                continue
            at_ms, score = said[model]
            assert joined.score(number, row) == score
            assert OUTCOMES[joined.outcome[number, row]] == score_outcome(score)
            assert joined.is_exact[number, row] == (model in recorded)
            if model in recorded:
                assert arrival_us == round(recorded[model] * 1000)
            else:  # in a made-up log all append times have the same error
                assert abs(arrival_us / 1000 - at_ms) < 0.002
                assert arrival_us >= round(result.waited_ms * 1000)


@pytest.mark.parametrize("partitions", [1, 3])
@pytest.mark.parametrize("requests_max", [50, 100_000])
def test_every_request_with_every_score(tmp_path, partitions, requests_max):
    log = MadeLog(make_requests(600), partitions=partitions)
    log.write(tmp_path, segment_bytes=65_536)
    joined, notes = joined_of(tmp_path, requests_max=requests_max)
    assert joined.models == MODELS
    check_against(joined, log)
    assert (notes.requests, notes.results, notes.unanswered) == (600, 600, 0)
    assert notes.scores == sum(len(made.reports) for made in log.requests)
    assert notes.orphan_scores == notes.orphan_results == notes.stray_count == 0
    assert notes.estimated_arrivals == int((~joined.is_exact & (joined.outcome != ABSENT)).sum())
    assert (np.diff(joined.append_ns) >= 0).all()


def test_a_part_of_the_time(tmp_path):
    log = MadeLog(make_requests(300))
    log.write(tmp_path)
    since_ns, until_ns = BEGIN_NS + 100 * 10**6, BEGIN_NS + 300 * 10**6
    joined, notes = joined_of(tmp_path, since_ns=since_ns, until_ns=until_ns)
    appended = [made for made in log.requests if since_ns <= made.wall_ns + 100_000 < until_ns]
    assert [joined.id(row) for row in range(len(joined))] == [made.id for made in appended]
    assert notes.stray_count == 0
    assert (joined.answered_by != 0).all()
    with pytest.raises(NothingRecorded):
        joined_of(tmp_path, since_ns=BEGIN_NS + 10**15)


def test_there_must_be_an_input(tmp_path):
    with pytest.raises(NothingRecorded, match="no recorded requests"):
        Recorded(str(tmp_path))


def test_duplicates_and_garbage_are_counted_and_change_nothing(tmp_path):
    log = MadeLog(make_requests(40))
    log.write(tmp_path)
    before, _ = joined_of(tmp_path)
    made = log.requests[3]
    again = make_score(made.id, "gbm", error="a second opinion")
    foreign = make_score(made.id, "rules")
    append(
        tmp_path,
        "scores",
        "gbm",
        encode_score(make_score(log.requests[4].id, "gbm", error="boom")),
        b"not JSON\n",
        encode_score(foreign),
        encode_score(again),
        b'{"v":1,"id":"x","model":"gbm","version":"1","time_ns":1}\n',
        b'{"v":1,"id":7}\nand more\n',
        at_ns=BEGIN_NS + 90 * 10**6,
    )
    append(tmp_path, "results", "p-1", b"\xff\xfe\n", at_ns=BEGIN_NS + 90 * 10**6)
    append(tmp_path, "input", "p-1", b"[]\n", at_ns=BEGIN_NS + 90 * 10**6)
    after, notes = joined_of(tmp_path)
    assert dict(notes.malformed) == {"scores": 4, "results": 1, "input": 1}
    known = [(3, "gbm"), (4, "gbm")]
    reported = [any(s.model == m for _, s in log.requests[n].reports) for n, m in known]
    assert notes.duplicate_scores == sum(reported)
    for name in ("ids", "kind", "waited_ms", "step"):
        assert (getattr(before, name) == getattr(after, name)).all()
    untouched = np.ones(len(after), bool)
    untouched[[n for (n, _), was in zip(known, reported, strict=True) if not was]] = False
    assert (before.outcome[:, untouched] == after.outcome[:, untouched]).all()


def test_a_duplicate_request_counts_once(tmp_path):
    log = MadeLog(make_requests(10))
    log.write(tmp_path)
    with open_stream(str(tmp_path / "input")) as stream, stream.consumer() as consumer:
        first = consumer.poll(1)[0].value
    append(tmp_path, "input", "p-1", first)
    joined, notes = joined_of(tmp_path)
    assert len(joined) == 10
    assert notes.duplicate_requests == 1


def test_a_request_without_any_answer_is_joined(tmp_path):
    log = MadeLog(make_requests(10))
    records = log.decide()
    gone = log.requests[5].id.encode()
    log.decide = lambda: [r for r in records if r[1] != "results" or gone not in r[4]]
    log.write(tmp_path)
    joined, notes = joined_of(tmp_path)
    assert joined.kind.tolist().count(NO_RESULT) == 1
    assert np.isnan(joined.waited_ms[5])
    assert joined.model.at(5) is None
    assert notes.unanswered == 1


def test_a_score_beyond_the_horizon_counts_as_none(tmp_path):
    late_ms = HORIZON_NS / 1e6 + 20_000
    first = MadeRequest(0, 0.0, [(late_ms, make_score(MadeRequest(0, 0, []).id, "gbm"))])
    others = [MadeRequest(n, n * 1000.0, []) for n in range(1, 40)]
    log = MadeLog([first, *others])
    log.write(tmp_path)
    joined, notes = joined_of(tmp_path, requests_max=5)
    assert notes.orphan_scores == 1
    assert joined.outcome[:, 0].tolist() == [ABSENT]


def test_a_score_within_a_long_sla_counts(tmp_path):
    """The join reads scores as long as the requests of a window may wait, not only for HORIZON."""
    late_ms = HORIZON_NS / 1e6 + 20_000
    score = make_score(MadeRequest(0, 0, []).id, "gbm")
    first = MadeRequest(0, 0.0, [(late_ms, score)], deadline_ms=45_000.0)
    others = [MadeRequest(n, n * 1000.0, []) for n in range(1, 40)]
    log = MadeLog([first, *others])
    log.write(tmp_path)
    joined, notes = joined_of(tmp_path, requests_max=5)
    assert notes.orphan_scores == 0
    assert joined.outcome[0, 0] != ABSENT


def test_damage_is_passed_over_and_named(tmp_path):
    log = MadeLog(make_requests(50))
    log.write(tmp_path)
    path = tmp_path / "scores/gbm/0/00000000000000000000.jsonl"
    data = bytearray(path.read_bytes())
    at = data.index(b"\n", len(data) // 2) + 20
    data[at] ^= 0xFF
    path.write_bytes(data)
    joined, notes = joined_of(tmp_path)
    assert notes.damaged == 1
    assert notes.missing_scores + int((joined.outcome[0] == ABSENT).sum()) >= 1
    assert any("gbm" in gap for gap in notes.gaps)
    assert notes.requests == 50


def test_retention_is_said(tmp_path):
    log = MadeLog(make_requests(400))
    log.write(tmp_path, segment_bytes=16_384)
    with open_stream(str(tmp_path / "scores")) as stream:
        records, _ = stream.purge("gbm", 0, before_offset=stream.end("gbm") // 2)
    assert records
    joined, notes = joined_of(tmp_path)
    assert len(joined) == 400
    assert any("retention" in gap for gap in notes.gaps)
    assert notes.missing_scores > 0
    # The result still says that the report had arrived, and of what kind it was.
    gbm = joined.models.index("gbm")
    bare = joined.is_exact[gbm] & (joined.score_at[gbm] < 0)
    assert bare.sum() == notes.missing_scores
    assert set(joined.outcome[gbm][bare]) <= set(range(RESULT, len(OUTCOMES)))


def test_values_of_answers(tmp_path):
    log = MadeLog(make_requests(100))
    log.write(tmp_path)
    extract = Extract(Reading("class"))
    joined, _ = read_joined(str(tmp_path), extract=extract)
    assert not extract.is_number
    for number in range(3):
        for row in range(100):
            score = joined.score(number, row)
            value = extract.name(joined.value[number, row])
            if score is None or score.result is msgspec.UNSET:
                assert value == "-"
            else:
                assert value in ('"pass"', '"block"')
                assert value.encode() in bytes(score.result)
    numbers, _ = read_joined(str(tmp_path), extract=Extract(Reading("number", "score")))
    told = numbers.given[numbers.kind < 3]
    assert ((told >= 0) & (told <= 1)).all()


def test_rows_can_be_taken(tmp_path):
    log = MadeLog(make_requests(60))
    log.write(tmp_path)
    joined, _ = joined_of(tmp_path)
    some = joined.take(joined.outcome[0] == RESULT)
    assert len(some) == int((joined.outcome[0] == RESULT).sum())
    assert len(some.key) == len(some)
    assert (some.outcome[0] == RESULT).all()
    assert some.outcome[1].tolist().count(NOT_SAMPLED) <= joined.outcome[1].tolist().count(3 + 1)
    assert some.request(0).id == some.id(0)
