"""Answers the Open Inference Protocol V2: the decision is a model, its rows are requests.

A version is the name of a schedule; without one the live schedule (or the key's cohort) decides.
`oip_rest` serves it over REST, `rdv.serve.grpc` by gRPC.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from http import HTTPStatus
from typing import Any

import orjson

from rdv.codes import HTTP_CODES
from rdv.decision.accepted import Accepted
from rdv.decision.schema_check import read_tree
from rdv.http import Failure
from rdv.oip.metadata import ModelInfo, input_tensors, output_tensors
from rdv.oip.rows import keys_of, outputs_of, parameters_of, rows_of
from rdv.oip.tensor import InferRequest, InferResponse, OipError

_US_PER_MS = 1_000

Respond = Callable[["InferResponse | OipError", "Headers"], None]
Headers = tuple[tuple[bytes, bytes], ...]


def columns_of(schema: str) -> dict[str, str]:
    """Return the type of each column of `Accepted.schema`; empty where none is declared.

    A column that may have several types has the type "any".
    """
    fields = read_tree(schema).fields if schema else {}
    return {name: "any" if len(n.types) != 1 else n.types[0] for name, n in fields.items()}


class Inference:
    """Answers inference requests in either form of the protocol. For the loop's thread."""

    def __init__(
        self,
        decide: Callable[[Any], None],
        accepted: Callable[[], Accepted],
    ) -> None:
        """`accepted` returns the settings in force; `decide` is the proxy's."""
        self._decide = decide
        self._accepted = accepted

    @property
    def name(self) -> str:
        """Return the name of the decision, which is that of the model."""
        return self._accepted().decision.name

    def check(self, name: str, version: str) -> None:
        """Raise OipError for a model or a version that does not exist."""
        if name != self.name:
            message = f"there is no model {name[:100]!r}; the decision is {self.name!r}"
            raise OipError(message, 404, "not_found")
        if version and version not in self._accepted().schedules:
            names = ", ".join(sorted(self._accepted().schedules))
            message = f"there is no version {version[:100]!r}; the schedules are {names}"
            raise OipError(message, 404, "not_found")

    def info(self, version: str) -> ModelInfo:
        """Return the metadata of the model, or of one of its versions."""
        accepted = self._accepted()
        schedules, live = accepted.schedules, accepted.decision.schedule
        versions = [version] if version else [live, *sorted(schedules.keys() - {live})]
        return ModelInfo(
            self.name,
            versions,
            input_tensors(columns_of(accepted.schema)),
            output_tensors(schedules[version or live].default),
        )

    def index(self, *, is_ready: bool, only_ready: bool) -> list[dict[str, str]]:
        """Return the index of the repository: an entry for each version of the model."""
        if only_ready and not is_ready:
            return []
        state, reason = ("READY", "") if is_ready else ("UNAVAILABLE", "no model is up")
        return [
            {"name": self.name, "version": version, "state": state, "reason": reason}
            for version in self.info("").versions
        ]

    def infer(self, asker: Any, version: str, request: InferRequest, respond: Respond) -> None:
        """Decide each row of the request, and call `respond` once. Raises OipError.

        `asker` is the HTTP request, or stands for the client of another protocol: it has `client`,
        `connected`, `received_ns` and `token`, and may have `trace`.
        """
        rows = rows_of(request, self._accepted().decision.http.rows_max)
        keys = keys_of(request, len(rows))
        pairs = zip(rows, keys, strict=True)
        body: dict[str, Any] = {
            **_options(request),
            "rows": [
                {"data": orjson.Fragment(row)} if key is None else _keyed(row, key)
                for row, key in pairs
            ],
        }
        if version:
            body["schedule"] = version
        done = partial(self._done, version, request, respond)
        self._decide(RowsRequest(asker, orjson.dumps(body), done))

    def _done(
        self,
        version: str,
        request: InferRequest,
        respond: Respond,
        status: int,
        body: bytes,
        headers: Headers,
    ) -> None:
        """Turn the proxy's answer to the rows into one of the protocol."""
        answer = orjson.loads(body)
        if status != HTTPStatus.OK:
            error = answer["error"]
            respond(OipError(error["message"], status, error["code"]), headers)
            return
        answers = answer["answers"]
        for number, row in enumerate(answers):
            if error := row.get("error"):
                status = HTTP_CODES[error["code"]][0]
                message = f"row {number}: {error['message']}"
                respond(OipError(message, status, error["code"]), ())
                return
        try:
            outputs = outputs_of(answers, request)
        except OipError as error:
            respond(error, ())
            return
        used = version or str(answers[0]["schedule"]).partition("@")[0]
        parameters = parameters_of(answers)
        respond(InferResponse(self.name, used, request.id, outputs, parameters), ())


def _keyed(row: bytes, key: str) -> dict[str, Any]:
    return {"data": orjson.Fragment(row), "key": key}


class RowsRequest:
    """Is to the proxy the HTTP request with the rows of an inference request.

    The client is that of `asker`; the answer goes to `done`.
    """

    json_fault = None

    def __init__(
        self, asker: Any, body: bytes, done: Callable[[int, bytes, Headers], None]
    ) -> None:
        self._asker, self._done = asker, done
        self.body = body
        self.client: str = asker.client
        self.received_ns: int = asker.received_ns
        self.x_request_id: str = getattr(asker, "x_request_id", "")
        self.trace: tuple[str, str] = getattr(asker, "trace", ("", ""))

    @property
    def connected(self) -> bool:
        """Return whether an answer is still needed."""
        return bool(self._asker.connected)

    @property
    def token(self) -> str:
        """Return what the proxy finds the rows by when the client leaves."""
        return str(self._asker.token)

    @token.setter
    def token(self, token: str) -> None:
        self._asker.token = token

    def respond(self, status: int, body: bytes = b"", *, headers: Headers = (), **_: Any) -> None:
        """Pass the answer on."""
        self._done(status, body, tuple(headers))

    def fail(self, failure: Failure) -> None:
        """Pass a refusal on."""
        self.respond(failure.status, failure.body(), headers=failure.headers)


def _options(request: InferRequest) -> dict[str, Any]:
    """Return what the request's parameters ask for. Raises OipError."""
    found: dict[str, Any] = {}
    given = request.parameters
    if (limit := given.get("rdv_deadline_ms")) is not None:
        found["deadline_ms"] = _positive("rdv_deadline_ms", limit)
    elif given.get("timeout"):  # Triton's, in microseconds
        found["deadline_ms"] = _positive("timeout", given["timeout"]) / _US_PER_MS
    if (models := given.get("rdv_models")) is not None:
        if not isinstance(models, str):
            raise OipError(f"the parameter rdv_models is {models!r:.40}: write names with commas")
        found["models"] = [name.strip() for name in models.split(",")]
    return found


def _positive(name: str, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not value > 0:
        raise OipError(f"the parameter {name} is {value!r:.40}, no positive number")
    return float(value)
