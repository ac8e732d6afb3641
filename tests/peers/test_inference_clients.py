"""Check the Open Inference Protocol with its real clients: tritonclient, and KServe's SDK."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from ports import free_port
from running import MODELS, Decision, write_decision

TRITON = """
import sys
import numpy as np
import tritonclient.{kind} as triton

client = triton.InferenceServerClient("127.0.0.1:" + sys.argv[1])
assert client.is_server_live() and client.is_server_ready()
assert client.is_model_ready("fraud") and client.is_model_ready("fraud", "production")
found = client.get_model_metadata("fraud")
assert (found["name"] if isinstance(found, dict) else found.name) == "fraud"
amount = triton.InferInput("amount", [3, 1], "FP32")
amount.set_data_from_numpy(np.array([[912.5], [3], [np.nan]], dtype=np.float32))
country = triton.InferInput("country", [3, 1], "BYTES")
country.set_data_from_numpy(np.array([["de"], ["fr"], ["\\u00fc"]], dtype=object))
wanted = [triton.InferRequestedOutput(name) for name in ("score", "by", "rdv_kind", "result")]
answer = client.infer(
    "fraud", [amount, country], outputs=wanted, model_version="production", request_id="q-1",
    parameters={{"rdv_key": "u-1"}},
)
assert answer.as_numpy("score").shape == (3, 1) and answer.as_numpy("score").dtype == np.float64
assert all(text in (b"gbm", b"mlp", b"fast", b"default") for text in answer.as_numpy("by").ravel())
assert all(b'"by"' in text for text in answer.as_numpy("result").ravel())
for name, version in (("other", ""), ("fraud", "other")):
    try:
        client.infer(name, [amount], model_version=version)
    except triton.InferenceServerException as error:
        assert "there is no" in str(error), error
    else:
        raise AssertionError("an unknown model has answered")
"""

TRITON_HTTP_ONLY = """
plain = client.infer("fraud", [amount], outputs=[
    triton.InferRequestedOutput("score", binary_data=False),
    triton.InferRequestedOutput("by", binary_data=True),
])
assert plain.as_numpy("score").shape == plain.as_numpy("by").shape == (3, 1)
amount.set_data_from_numpy(np.array([[1], [2], [3]], dtype=np.float32), binary_data=False)
assert client.infer("fraud", [amount]).as_numpy("score").shape == (3, 1)
rows = triton.InferInput("data", [1], "BYTES")
rows.set_data_from_numpy(np.array([b'{"gbm": "raise"}'], dtype=object))
assert client.infer("fraud", [rows]).get_response()["parameters"]["rdv_kind"] != "preferred"
"""

KSERVE = """
import asyncio, sys
import httpx
import numpy as np
from kserve import InferenceGRPCClient, InferenceRESTClient, InferInput, InferRequest, RESTConfig

def request(name, binary):
    tensor = InferInput("amount", [2, 1], "FP64")
    tensor.set_data_from_numpy(np.array([[912.5], [3]]), binary_data=binary)
    return InferRequest(name, [tensor])

async def rest(url):
    client = InferenceRESTClient(RESTConfig(protocol="v2"))
    assert await client.is_server_ready(url) and await client.is_server_live(url)
    assert await client.is_model_ready(url, "fraud")
    for binary in (True, False):
        answer = await client.infer(url, request("fraud", binary), model_name="fraud")
        assert [list(output.shape) for output in answer.outputs] == [[2, 1], [2, 1]]
        assert answer.parameters["rdv_kind"]
    try:
        await client.infer(url, request("other", True), model_name="other")
    except httpx.HTTPStatusError as error:
        assert "there is no model" in str(error)
    else:
        raise AssertionError("an unknown model has answered")

async def rpc(place):
    client = InferenceGRPCClient(place)
    assert await client.is_server_ready() and await client.is_model_ready("fraud")
    for binary in (True, False):
        answer = await client.infer(request("fraud", binary))
        assert [list(output.shape) for output in answer.outputs] == [[2, 1], [2, 1]]
        assert answer.outputs[0].as_numpy().shape == (2, 1)
    await client.close()

asyncio.run(rest("http://127.0.0.1:" + sys.argv[1]))
asyncio.run(rpc("127.0.0.1:" + sys.argv[2]))
"""


@pytest.fixture(scope="module")
def ports(tmp_path_factory) -> Iterator[tuple[str, str]]:
    """Serve a decision; return its ports for HTTP and for gRPC."""
    directory = tmp_path_factory.mktemp("oip") / "fraud"
    grpc_port = free_port(1)
    http_port = write_decision(directory, http=f"grpc_port = {grpc_port}")
    decision = Decision(directory, http_port)
    try:
        decision.start("server", *MODELS, "proxy-0")
        decision.processes["grpc"] = decision.start_process("grpc", ["grpc", str(directory)])
        decision.await_ready()
        yield str(http_port), str(grpc_port)
    finally:
        decision.close()


def run(python: str, script: str, *arguments: str, place: Path) -> None:
    file = place / "client.py"
    file.write_text(script)
    done = subprocess.run(
        [python, str(file), *arguments], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr


def test_tritonclient_over_http(ports, peer_python, tmp_path):
    script = TRITON.format(kind="http") + TRITON_HTTP_ONLY
    run(peer_python("triton"), script, ports[0], place=tmp_path)


def test_tritonclient_over_grpc(ports, peer_python, tmp_path):
    run(peer_python("triton"), TRITON.format(kind="grpc"), ports[1], place=tmp_path)


def test_kserve(ports, peer_python, tmp_path):
    run(peer_python("kserve"), KSERVE, *ports, place=tmp_path)
