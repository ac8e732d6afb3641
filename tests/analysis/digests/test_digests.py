"""Drift against digests of past weeks, whose log retention has deleted."""

from __future__ import annotations

import math
import random
import shutil
from datetime import datetime

import msgspec
import numpy as np
import orjson
import pytest
from compare_kit import raw
from made_log import BEGIN_NS, MODELS, PREFIX, MadeLog, MadeRequest, make_score

from rdv.analysis.compare import compare
from rdv.analysis.dataset.places import Recorded
from rdv.analysis.digests import NO_PAST, read_past, write_digests
from rdv.analysis.digests import hour as hour_module
from rdv.analysis.digests.hour import BadDigest, Column, Hour, decoded, encoded
from rdv.analysis.digests.write import _Sampler
from rdv.rendezvous.messages import make_request_id
from rdv.stream import open_stream
from rdv.stream.files import files_of

HOUR_NS = 3600 * 10**9
DAY = 24
WEEKS, PER_HOUR = 4, 10
HOURS = WEEKS * 7 * DAY
CHANGED = HOURS - 3 * DAY
"""The hour since which `logit` and the field `country` differ."""


def weekly(seed=3):
    """Make four weeks with a daily cycle, and weekends unlike other days."""
    chance = random.Random(seed)
    requests = []
    for number in range(HOURS * PER_HOUR):
        hour = number / PER_HOUR
        clock = BEGIN_NS / HOUR_NS + hour
        level = math.sin(2 * math.pi * clock / 24) + 1.5 * ((clock // 24 + 3) % 7 >= 5)
        later = hour >= CHANGED
        own = level + chance.gauss(0, 1)
        scores = own, own + 0.8 * later, own + 0.1 * chance.gauss(0, 1)
        id_ = make_request_id(PREFIX, number)
        reports = [
            (1.0 + n, make_score(id_, model, result=raw({"score": float(score)})))
            for n, (model, score) in enumerate(zip(MODELS, scores, strict=True))
        ]
        made = MadeRequest(number, hour * 3.6e6, reports)
        there = "at", "at", "at", "de", "ch"
        data = {"amount": level + chance.gauss(0, 1), "country": chance.choice(there)}
        data["name"] = f"n{chance.random()}"
        if later and chance.random() < 0.3:
            data["country"] = "new"
        message = made.message
        made.message = lambda message=message, data=data: msgspec.structs.replace(
            message(), data=msgspec.Raw(msgspec.json.encode(data)), key=None
        )
        requests.append(made)
    return MadeLog(requests)


@pytest.fixture(scope="module")
def decision(tmp_path_factory):
    """Write the log, its digests while it was whole, and delete all but the last week."""
    directory = tmp_path_factory.mktemp("weekly")
    weekly().write(directory, segment_bytes=64 * 1024, retention_ms=None)
    end_ns = BEGIN_NS + HOURS * HOUR_NS
    written = write_digests(str(directory), 6, end_ns, 60_000)
    assert abs(written - HOURS) <= 1
    assert write_digests(str(directory), 6, end_ns, 60_000) == 0
    for name in ("input", "scores", "results"):
        with open_stream(str(directory / name)) as stream:
            files = files_of(stream)
            for topic in files.topics():
                before = files.offset_at(topic, 0, end_ns - 7 * DAY * HOUR_NS)
                files.purge(topic, 0, before_offset=before)
    return directory


def found_in(directory, first, second, past=True):
    with Recorded(str(directory)) as recorded:
        known = read_past(recorded) if past else NO_PAST
        return compare(recorded, first, second, past=known)


def test_a_weekly_cycle_is_no_drift_with_seven_days_of_log(decision):
    found = found_in(decision, "gbm", "rules")
    assert [one.cause for one in found.drift] == ["steady", "steady"]
    assert [one.field for one in found.inputs.changed] == ["country"]
    assert found.inputs.fields == ("amount", "country")
    assert not found.notes.gaps or all("digest" not in gap for gap in found.notes.gaps)


def test_the_log_alone_would_take_the_weekend_for_drift(decision):
    found = found_in(decision, "gbm", "rules", past=False)
    assert {one.cause for one in found.drift} == {"input changed"}


def test_a_change_is_found_and_dated(decision):
    found = found_in(decision, "gbm", "logit")
    drift = {one.model: one for one in found.drift}
    assert drift["logit"].cause == "model changed"
    assert "same hour and weekday of 3 past weeks" in drift["logit"].sentence
    moved = [one for one in drift["logit"].windows if one.verdict.cause == "model changed"]
    assert abs(moved[0].start_ns - (BEGIN_NS + CHANGED * HOUR_NS)) <= 16 * HOUR_NS
    country = next(one for one in found.inputs.changed if one.field == "country")
    assert "of 3 past weeks" in country.sentence


def test_bad_and_missing_digests_are_named_and_the_others_used(decision, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(decision, copy)
    files = sorted((copy / "digests").iterdir())
    files[3].unlink()
    files[5].write_bytes(files[5].read_bytes()[:-3])
    files[6].write_bytes(b"")
    files[7].write_bytes(files[8].read_bytes())
    found = found_in(copy, "gbm", "rules")
    assert [one.cause for one in found.drift] == ["steady", "steady"]
    text = " ".join(found.caveats())
    assert "3 hourly digests cannot be used" in text
    assert f"{files[7].stem}: it is of {files[8].stem}" in text
    assert "1 hours since" in text


def test_a_bad_digest_is_made_again_while_the_log_has_its_hour(decision, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(decision, copy)
    newest = sorted((copy / "digests").iterdir())[-2]
    whole = newest.read_bytes()
    newest.write_bytes(whole[:20])
    (copy / "digests" / ".rdv-left").write_bytes(b"half")
    assert write_digests(str(copy), 6, BEGIN_NS + HOURS * HOUR_NS, 60_000) >= 1
    assert newest.read_bytes() == whole
    assert not (copy / "digests" / ".rdv-left").exists()


def test_old_digests_are_deleted(decision, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(decision, copy)
    write_digests(str(copy), 1, BEGIN_NS + HOURS * HOUR_NS, 60_000)
    assert len(list((copy / "digests").iterdir())) <= 7 * DAY


def test_a_digest_is_small_and_keeps_no_id(decision):
    for path in (decision / "digests").iterdir():
        assert path.stat().st_size < 4000
        hour = (datetime.fromisoformat(f"{path.stem}:00+00:00").timestamp()) // 3600
        digest = decoded(path.read_bytes(), int(hour))
        assert digest.fields.get("name", Column()).classes == {}


class _Joined:
    """What the sampler reads of a batch."""

    models = ()

    def __init__(self, keys):
        import pyarrow as pa

        self.key = pa.array([f"k{key}" for key in keys], pa.large_string())
        self.ids = np.array([b"%022d" % n for n in range(len(keys))], "S64")

    def __len__(self):
        return len(self.ids)

    def request(self, row):
        return msgspec.structs.replace(
            MadeRequest(0, 0.0, []).message(),
            data=msgspec.Raw(b'{"k":%s}' % self.key[row].as_py()[1:].encode()),
        )


@pytest.mark.parametrize("count", [1, 200, 256, 257, 3000, 20_000])
def test_keys_are_counted_to_a_few_percent(count):
    errors = []
    for hour in range(12):
        sampler = _Sampler(hour)
        keys = np.random.default_rng(hour).permutation(
            np.repeat(np.arange(count), 1 + (count < 500))
        )
        for part in np.array_split(keys, 3):
            sampler.add(_Joined(part.tolist()))
        digest = sampler.hour()
        assert len(digest.drawn) == min(count, hour_module.KEYS_MAX)
        assert digest.requests == len(keys)
        errors.append(digest.keys / count - 1)
        assert decoded(encoded(digest), hour) == digest
    if count <= hour_module.KEYS_MAX:
        assert errors == [0] * 12
    assert abs(np.mean(errors)) < 0.06
    assert max(map(abs, errors)) < 0.25


def test_a_key_counts_once_however_many_requests_it_has():
    sampler = _Sampler(1)
    sampler.add(_Joined([0] * 5000 + list(range(1, 2001))))
    values = sampler.hour().fields["k"].numeric()
    assert (values == 0).sum() <= 1
    assert abs(values.mean() - 1000) < 200


@pytest.mark.parametrize(
    "change",
    [
        {"version": 2},
        {"keys": float("nan")},
        {"sample": b"123"},
        {"fields": {"x": Column(b"1234")}},
        {"fields": {"x": Column(np.array([np.inf]).tobytes())}},
        {"fields": {"x": Column(b"", {"a": 2})}},
        {"fields": {"x": Column(b"", {"a": -1})}},
    ],
)
def test_what_cannot_be_a_digest_is_refused(change):
    good = Hour(hour=5, requests=1, keys=1.0, sample=b"12345678")
    assert decoded(encoded(good), 5) == good
    with pytest.raises(BadDigest):
        decoded(encoded(msgspec.structs.replace(good, **change)), 5)


def test_texts_that_hardly_repeat_are_not_kept():
    assert Column.of([f"mail{n}@example.org" for n in range(200)]).classes == {}
    assert Column.of(["a", "b"] * 50).classes == {"a": 50, "b": 50}
    assert orjson.dumps(Column.of([2, 1.5, True]).classes) == b'{"True":1}'


def large(models, columns, length):
    """Make a digest whose texts are as many and as long as a sampler keeps them."""
    texts = {f"{number:03}" + "\U0001f600" * length: 2 for number in range(128)}
    numbers = Column(np.arange(256, dtype="<f8").tobytes())
    both = {f"text{n}": Column(b"", texts) for n in range(columns)} | {"x": numbers}
    return Hour(
        hour=7,
        requests=10**9,
        keys=1e9,
        sample=np.arange(256, dtype="<u8").tobytes(),
        fields=both,
        models={f"model{n}": both for n in range(models)},
    )


@pytest.mark.parametrize(
    ("models", "columns", "length"), [(50, 20, 97), (50, 20, 3), (1, 2, 97), (0, 0, 0), (8, 7, 97)]
)
def test_what_is_written_can_always_be_read(models, columns, length):
    hour = large(models, columns, length)
    data = encoded(hour)
    assert len(data) <= hour_module.BYTES_MAX
    found = decoded(data, 7)
    assert (found.requests, found.keys, found.sample) == (hour.requests, hour.keys, hour.sample)
    assert found.models.keys() == hour.models.keys()
    for mine, theirs in ((hour.fields, found.fields), *zip(hour.models.values(),
                         found.models.values(), strict=True)):  # fmt: skip
        assert all(mine[name] == column for name, column in theirs.items())
        assert "x" in theirs  # the smallest ones stay
    count = len(hour.fields) + sum(map(len, hour.models.values()))
    kept = len(found.fields) + sum(map(len, found.models.values()))
    if (models + 1) * columns * 128 * (4 * length + 5) < hour_module.BYTES_MAX * 0.9:
        assert kept == count
    else:
        assert kept < count
        assert len(msgspec.msgpack.encode(found)) > hour_module.BYTES_MAX * 0.9


def test_a_name_longer_than_a_digest_leaves_the_rest_readable():
    column = Column(np.arange(3, dtype="<f8").tobytes())
    fields = {"n" * hour_module.BYTES_MAX: column, "x": column}
    sample = np.arange(9, dtype="<u8").tobytes()
    found = decoded(encoded(Hour(hour=7, fields=fields, sample=sample)), 7)
    assert found.fields == {"x": column}
