"""Run the examples in the docstrings of `rdv`'s own names, against a decision that is served."""

from __future__ import annotations

import asyncio
import inspect
import re
import textwrap

import polars as pl
import pyarrow as pa
import pytest
from running import MODELS, Client, Decision, write_decision

import rdv

_BLOCK = re.compile(r"(?:^ {4}.*\n|^\n(?= {4}))+", re.MULTILINE)
NAMED = ("Client", "AsyncClient", "OpenDecision", "Table", "Local")


def example(name):
    """Return the first indented block of a docstring."""
    text = (inspect.getdoc(getattr(rdv, name)) or "") + "\n"
    return textwrap.dedent(_BLOCK.search(text)[0])


def test_each_class_has_an_example():
    for name in NAMED:
        assert example(name).strip(), name


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    place = tmp_path_factory.mktemp("docstrings")
    served = Decision(place / "fraud", write_decision(place / "fraud"))
    try:
        served.start("server", *MODELS, "proxy-0")
        served.await_ready()
        with Client(served.port) as client:
            assert client.post({"data": {}})[0] == 200
        yield served
    finally:
        served.close()


@pytest.mark.parametrize("name", NAMED)
def test_examples_of_docstrings_run(served, name, monkeypatch):
    monkeypatch.chdir(served.directory.parent)
    code = example(name).replace(":8100", f":{served.port}")
    names = {"rdv": rdv, "polars": pl, "pyarrow": pa}
    if "async with" in code:
        code = f"async def main():\n{textwrap.indent(code, '    ')}\n    return answer\n"
        exec(code, names)
        assert asyncio.run(names["main"]()).id
        return
    exec(code, names)
