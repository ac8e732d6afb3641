"""Check what the cells of a CSV file mean: numbers, and texts that survive as they are."""

from __future__ import annotations

import csv
import gzip
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rdv.decision import load_decision
from rdv.decision.cells import MISSING, kind_of_cell, kinds_of_columns, value_of
from rdv.decision.errors import OutcomeFileUnusable
from rdv.decision.outcome_file import OutcomeFile
from rdv.decision.row_file import RowFileUnusable, kinds_of_schema, read_rows

WORDS = ["NA", "nan", "NaN", "NULL", "None", "none", "null", "N/A", "<NA>", "NaT"]
TEXTS = ["de", "007", "+49301", "1.2.3", "x", "0x1F", "1_000", " 1", "1" * 25, "۴", "1,5"]
NUMBERS = ["1", "-0", "1.10", ".5", "5.", "1e3", "-1E-2", "18446744073709551615", "inf"]


def column(cells: list[str]) -> list:
    (kind,) = kinds_of_columns(([cell] for cell in cells), 1)
    return [value_of(cell, kind) for cell in cells]


@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.parametrize("word", WORDS)
def test_words_survive_in_a_column_of_texts(text, word):
    cells = [word, "12", text, "true", ""]
    assert column(cells) == [word, "12", text, "true", None]


@pytest.mark.parametrize("word", ["", *WORDS])
def test_words_are_missing_values_beside_numbers_and_booleans(word):
    assert column([word, "1", "2.5"]) == [None, 1, 2.5]
    assert column(["True", word, "false"]) == [True, None, False]


def test_a_column_of_words_alone_is_one_of_texts():
    assert column(["NA", "NA", ""]) == ["NA", "NA", None]
    assert column(["1", "true"]) == ["1", "true"]


def test_numbers_are_those_that_programs_write():
    assert column(NUMBERS) == [1, 0, 1.1, 0.5, 5.0, 1000.0, -0.01, 18446744073709551615, None]


@given(st.lists(st.text(max_size=4) | st.sampled_from(WORDS + TEXTS + NUMBERS), max_size=6))
def test_each_column_is_of_one_kind_and_loses_no_text(cells):
    (kind,) = kinds_of_columns(([cell] for cell in cells), 1)
    found = [value_of(cell, kind) for cell in cells]
    if kind == "text":
        assert found == [cell or None for cell in cells]
    for cell, value in zip(cells, found, strict=True):
        if kind == "number":
            assert value is None or type(value) in (int, float)
            assert (value is None) == (not cell or cell.lower() in MISSING | {"inf"} or
                                       not math.isfinite(float(cell)))  # fmt: skip
        if kind == "boolean":
            assert value in (None, True, False)


@given(st.integers(-(10**25), 10**25))
def test_a_whole_number_keeps_all_of_its_digits(number):
    (value,) = column([str(number)])
    assert str(value) == str(number)
    assert kind_of_cell(str(number)) in ("number", "text")


@pytest.mark.parametrize(
    "schema",
    [
        '[schema.columns]\nzip = { type = "string" }\nn = { type = "number", nullable = true }',
        'json_schema = "s.json"',
    ],
    ids=["columns", "JSON Schema"],
)
def test_a_declared_type_decides(tmp_path, schema):
    (tmp_path / "s.json").write_text(
        '{"type": "object", "properties": {"zip": {"anyOf": [{"type": "string"}, {"type":'
        ' "null"}]}, "n": {"type": ["number", "null"]}, "any": {}}}'
    )
    (tmp_path / "rdv.toml").write_text(f"[schema]\n{schema}\n")
    kinds = kinds_of_schema(load_decision(str(tmp_path)))
    assert kinds == {"zip": "text", "n": "number"}
    (tmp_path / "rows.csv").write_text("zip,n,any\n12345,NA,1\n10115,,NA\n")
    rows = list(read_rows(str(tmp_path / "rows.csv"), kinds))
    assert rows == [
        {"zip": "12345", "n": None, "any": 1},
        {"zip": "10115", "n": None, "any": None},
    ]
    (tmp_path / "rows.csv").write_text("zip,n,any\n12345,many,1\n")
    assert next(read_rows(str(tmp_path / "rows.csv"), kinds))["n"] == "many"


@pytest.mark.parametrize("zipped", [False, True], ids=["plain", "gz"])
@pytest.mark.parametrize(
    ("cells", "outcomes", "skipped", "words"),
    [
        (["fraud", "none", "NA", ""], ['"fraud"', '"none"', '"NA"'], 1, 2),
        (["1", "NA", "nan", "none", "", "0"], ["1", "0"], 4, 0),
        (["NA", "nan"], [], 2, 0),
        (["true", "None", "null"], ["true", "null"], 1, 0),
        (['{"label": 1}', "NA"], ['{"label": 1}'], 1, 0),
    ],
)
def test_outcomes_that_are_texts_survive(tmp_path, cells, outcomes, skipped, words, zipped):
    path = str(tmp_path / ("o.csv.gz" if zipped else "o.csv"))
    with gzip.open(path, "wt") if zipped else open(path, "w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["id", "outcome"])
        rows.writerows([f"{number:032x}", cell] for number, cell in enumerate(cells))
    found = OutcomeFile(path)
    for _ in range(2):
        assert [bytes(truth.outcome).decode() for truth in found.truths()] == outcomes
        assert (found.skipped, found.words) == (skipped, words)


@pytest.mark.parametrize(
    "content",
    [b"\x1f\x8b\x08\0cut", b"plain", gzip.compress(b"id")[:-9]],
    ids=["head", "plain", "cut"],
)
def test_a_broken_gzip_file_is_named(tmp_path, content):
    for name in ("rows.csv.gz", "rows.jsonl.gz"):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(RowFileUnusable, match="gzip"):
            list(read_rows(str(tmp_path / name)))
        with pytest.raises(OutcomeFileUnusable, match="gzip"):
            list(OutcomeFile(str(tmp_path / name)).truths())
