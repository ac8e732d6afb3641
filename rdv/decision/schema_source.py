"""Gets a decision's schema from where [schema] says: its columns, a JSON Schema, a pydantic model.

A pydantic model is user code: a process of its own imports it and prints its JSON Schema.
"""

from __future__ import annotations

import hashlib
import os
import sys
from typing import Any

import orjson

from rdv.decision.decision import Decision
from rdv.decision.errors import InvalidDecision
from rdv.decision.files import files_of
from rdv.decision.model import ModelConfig
from rdv.decision.schema_check import tree_text
from rdv.decision.schema_json import tree_of_json_schema
from rdv.decision.schema_tree import tree_of_columns
from rdv.system.child import how_it_ended
from rdv.system.environment import clean_environment
from rdv.system.run import run_program

SCHEMA_BYTES_MAX = 4 * 1024 * 1024
PYDANTIC_TIMEOUT_S = 20.0
_REASON_LENGTH_MAX = 500

_PRINT_SCHEMA = """
import importlib.util, json, os, sys
out = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)
path, name = sys.argv[1:]
sys.path.insert(0, os.path.dirname(os.path.abspath(path)))
spec = importlib.util.spec_from_file_location("rdv_schema", path)
module = importlib.util.module_from_spec(spec)
sys.modules["rdv_schema"] = module
spec.loader.exec_module(module)
kind = getattr(module, name)
if hasattr(kind, "model_json_schema"):
    schema = kind.model_json_schema()
else:
    import pydantic
    schema = pydantic.TypeAdapter(kind).json_schema()
json.dump(schema, out)
out.close()
"""


def schema_stamp(decision: Decision) -> str:
    """Return a hash of [schema] and of the files that it names."""
    schema = decision.schema
    if not schema.is_declared:
        return ""
    digest = hashlib.sha256(repr(schema).encode())
    files = [decision.path(schema.json_schema)] if schema.json_schema else []
    if schema.pydantic:
        path = schema.pydantic.partition(":")[0]
        files = files_of(decision.directory, ModelConfig(path=path))
    for file in files:
        try:
            with open(file, "rb") as opened:
                digest.update(hashlib.sha256(opened.read()).digest())
        except OSError:
            digest.update(b"missing")
    return digest.hexdigest()


def schema_text(decision: Decision) -> str:
    """Return the schema as it is published, see `schema_check.tree_text`; empty: none is declared.

    Takes up to PYDANTIC_TIMEOUT_S for a pydantic model. Raises InvalidDecision.
    """
    schema, where = decision.schema, decision.file
    if not schema.is_declared:
        return ""
    if schema.columns:
        return tree_text(tree_of_columns(schema, where))
    key = "schema.json_schema" if schema.json_schema else "schema.pydantic"
    found = _json_schema(decision) if schema.json_schema else _pydantic_schema(decision)
    return tree_text(tree_of_json_schema(found, schema.unknown, where, key))


def _json_schema(decision: Decision) -> Any:
    where, path = decision.file, decision.path(decision.schema.json_schema)
    try:
        with open(path, "rb") as file:
            text = file.read(SCHEMA_BYTES_MAX + 1)
    except OSError as error:
        reason = f"{path}: {error.strerror or error}"
        raise InvalidDecision(where, "schema.json_schema", reason) from None
    return _parsed(text, where, "schema.json_schema", path)


def _parsed(text: bytes, where: str, key: str, path: str) -> Any:
    if len(text) > SCHEMA_BYTES_MAX:
        raise InvalidDecision(where, key, f"{path} is larger than {SCHEMA_BYTES_MAX:,} bytes")
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise InvalidDecision(where, key, f"{path} is not JSON: {error}") from None


def _pydantic_schema(decision: Decision) -> Any:
    where, key = decision.file, "schema.pydantic"
    path, _, name = decision.schema.pydantic.partition(":")
    place = os.path.abspath(decision.path(path))
    if not os.path.isfile(place):
        raise InvalidDecision(where, key, f"there is no file {place}")
    try:
        ended = run_program(
            [sys.executable, "-c", _PRINT_SCHEMA, place, name],
            timeout_s=PYDANTIC_TIMEOUT_S,
            directory=decision.directory or ".",
            environment=clean_environment(os.environ, decision.env),
        )
    except OSError as error:
        raise InvalidDecision(where, key, f"{path}: {error.strerror or error}") from None
    if ended.by_us:
        reason = f"{path} was not imported within {PYDANTIC_TIMEOUT_S:g} s"
        raise InvalidDecision(where, key, reason)
    if ended.code:
        last = ended.last_line(how_it_ended(ended.code))
        raise InvalidDecision(where, key, f"{path}: {last[:_REASON_LENGTH_MAX]}")
    return _parsed(ended.output, where, key, path)
