"""The protocols that send a list of rows as JSON and get a list of predictions. Pure.

The rows are copied into the body as they are, without being parsed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from urllib.parse import quote

import msgspec
import orjson

from rdv.models.remote.protocols.base import (
    Answers,
    BadAnswer,
    BadRows,
    Codec,
    decode,
    decode_with_nan,
    need_count,
)
from rdv.models.remote.settings import Settings

_Object = dict[str, msgspec.Raw]
_VERSION_KEYS = ("model_version", "version")


class _ListCodec(Codec):
    """Reads `{"predictions": [...]}`, or the list alone."""

    def __init__(self, model: str, settings: Settings, result_bytes_max: int) -> None:
        super().__init__(model, settings, result_bytes_max)
        self._rows_key = b"{%b:[" % msgspec.json.encode(settings.rows_key)
        self._predictions_key = settings.predictions_key

    def body(self, rows: Sequence[bytes]) -> bytes:
        return b"%b%b]}" % (self._rows_key, b",".join(rows))

    def read(self, body: bytes, count: int) -> Answers:
        try:
            return self._read(body, count)
        except ValueError:  # NaN: the rows without it have an answer
            return self._read_with_nan(body, count)

    def _read(self, body: bytes, count: int) -> Answers:
        if body.lstrip()[:1] == b"[":
            texts, version = decode(body, list[msgspec.Raw]), ""
        else:
            table = decode(body, _Object)
            texts = decode(self._predictions(table), list[msgspec.Raw])
            version = _version_in(
                {key: decode(table[key], Any) for key in _VERSION_KEYS & table.keys()}
            )
        need_count(len(texts), count)
        return Answers(self.checked(texts), version)

    def _read_with_nan(self, body: bytes, count: int) -> Answers:
        value, version = decode_with_nan(body), ""
        if isinstance(value, dict):
            version = _version_in(value)
            value = self._predictions(value)
        if not isinstance(value, list):
            raise BadAnswer("its predictions are not a list")
        need_count(len(value), count)
        return Answers(self.encoded(value), version)

    def _predictions(self, table: dict[str, Any]) -> Any:
        if (found := table.get(self._predictions_key)) is None:
            has = ", ".join(list(table)[:8]) or "nothing"
            raise BadAnswer(f"its answer has no {self._predictions_key!r}: it has {has}")
        return found


def _version_in(table: dict[str, Any]) -> str:
    for key in _VERSION_KEYS:
        found = table.get(key)
        if isinstance(found, (str, int)) and not isinstance(found, bool) and str(found):
            return str(found)[:200]
    return ""


class JsonCodec(_ListCodec):
    """Sends `{"rows": [...]}` to the URL itself; the names of both keys are settings.

    The answer's `model_version` or `version`, where it has one, is the model's version.
    """


class MlflowCodec(_ListCodec):
    """Sends rows that are objects as a data frame, and lists as `inputs`."""

    path = "/invocations"
    health_path = "/ping"

    def body(self, rows: Sequence[bytes]) -> bytes:
        if all(row.lstrip()[:1] == b"[" for row in rows):
            return b'{"inputs":[%b]}' % b",".join(rows)
        if self._settings.dataframe == "records":
            return b'{"dataframe_records":[%b]}' % b",".join(rows)
        values = [_object(row) for row in rows]
        columns = self._settings.columns or list(dict.fromkeys(key for v in values for key in v))
        data = [[value.get(column) for column in columns] for value in values]
        return orjson.dumps({"dataframe_split": {"columns": columns, "data": data}})


def _object(row: bytes) -> dict[str, Any]:
    try:
        value = orjson.loads(row)
    except orjson.JSONDecodeError as error:
        raise BadRows(f"the data is not JSON: {error}") from None
    if not isinstance(value, dict):
        raise BadRows(f"the data is not an object but a {type(value).__name__}")
    return value


class TfServingCodec(_ListCodec):
    """Sends `{"instances": [...]}`; the version is the newest one that is available."""

    def __init__(self, model: str, settings: Settings, result_bytes_max: int) -> None:
        super().__init__(model, settings, result_bytes_max)
        self._rows_key = b'{"instances":['
        self._predictions_key = "predictions"
        self.metadata_path = f"/v1/models/{quote(model, safe='')}"
        self.path = f"{self.metadata_path}:predict"

    def learn(self, body: bytes) -> str:
        found = decode_with_nan(body)
        states = found.get("model_version_status") if isinstance(found, dict) else None
        if not isinstance(states, list):
            raise BadAnswer("its status has no model_version_status")
        ready = [
            str(one.get("version", ""))
            for one in states
            if isinstance(one, dict) and one.get("state") == "AVAILABLE"
        ]
        if not ready:
            raise BadAnswer("no version of the model is available")
        return max(ready, key=lambda text: (int(text) if text.isdecimal() else -1, text))
