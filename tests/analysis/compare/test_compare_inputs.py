"""Check that fields of the input that change are named, and others are not."""

from __future__ import annotations

import random

import msgspec
import pytest
from compare_kit import scored

from rdv.analysis.compare import compare
from rdv.analysis.compare import inputs as inputs_module
from rdv.analysis.dataset.places import Recorded

COUNT = 3000


def data_of(number, chance, change):
    """Return the data of a request; the second half differs in one way."""
    later = number >= COUNT // 2
    data = {
        "amount": chance.gauss(100, 20) + (15 if later and change == "amount" else 0),
        "country": chance.choice(["at", "de", "ch"]),
        "card": {"is_new": chance.random() < (0.5 if later and change == "card.is_new" else 0.2)},
        "count": number,
        "name": f"n-{chance.random()}",
    }
    if later and change == "country" and chance.random() < 0.2:
        data["country"] = "new"
    if later and change == "outliers" and chance.random() < 0.05:
        data["amount"] = 400.0
    if not (later and change == "limit" and chance.random() < 0.4):
        data["limit"] = chance.choice([100, 500, 1000])
    return data


def found_in(tmp_path, change, monkeypatch=None):
    chance = random.Random(4)
    log = scored(COUNT, lambda n, c: ({"score": c.random()}, {"score": c.random()}, None))
    for request in log.requests:
        data = msgspec.Raw(msgspec.json.encode(data_of(request.number, chance, change)))
        message = request.message
        request.message = lambda message=message, data=data: msgspec.structs.replace(
            message(), data=data, key=None
        )
    log.write(tmp_path)
    with Recorded(str(tmp_path)) as recorded:
        return compare(recorded, "gbm", "logit")


@pytest.mark.parametrize(
    ("change", "field", "what"),
    [
        ("amount", "amount", "values"),
        ("outliers", "amount", "values"),
        ("country", "country", "values"),
        ("card.is_new", "card.is_new", "values"),
        ("limit", "limit", "presence"),
    ],
)
def test_the_field_that_has_changed_is_named(tmp_path, change, field, what):
    found = found_in(tmp_path, change)
    assert [(one.field, one.what) for one in found.inputs.changed] == [(field, what)]
    assert any(text.startswith(f"Input: {field!r}: ") for text in found.sentences())


def test_nothing_is_said_where_nothing_has_changed(tmp_path):
    """A counter and a text that is different each time are no evidence."""
    found = found_in(tmp_path, None)
    assert found.inputs.changed == ()
    assert found.inputs.fields == ("amount", "country", "card.is_new", "limit")
    assert "Input: none of 4 fields has changed." in found.sentences()


def test_what_is_kept_is_bounded(tmp_path, monkeypatch):
    monkeypatch.setattr(inputs_module, "ROWS_MAX", 1500)
    monkeypatch.setattr(inputs_module, "FIELDS_MAX", 1)
    assert found_in(tmp_path, "amount").inputs.fields == ("amount",)
