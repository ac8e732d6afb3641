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

TRITON_MORE = """
import ml_dtypes
columns = []
for name, kind, dtype in (("half", "FP16", np.float16), ("brain", "BF16", ml_dtypes.bfloat16)):
    columns.append(triton.InferInput(name, [2, 1], kind))
    columns[-1].set_data_from_numpy(np.array([[0.5], [-3]], dtype=dtype))
keyed = {{"idempotency-key": "t-1"}}
first = client.infer("fraud", columns, headers=keyed, {compression})
again = client.infer("fraud", columns, headers=keyed, {compression})
ids = [
    answer.get_response()["parameters"]["rdv_id"] if {is_http}
    else answer.get_response().parameters["rdv_id"].string_param
    for answer in (first, again)
]
assert ids[0] == ids[1]
index = client.get_model_repository_index()
assert (index if {is_http} else index.models)
def refused(call, text):
    try:
        call()
    except triton.InferenceServerException as error:
        assert text in str(error), error
    else:
        raise AssertionError(text)
refused(lambda: client.get_inference_statistics("fraud"), "the statistics extension")
refused(lambda: client.get_model_config("fraud"), "the model configuration extension")
refused(lambda: client.load_model("fraud"), "the model control extension")
refused(lambda: client.unload_model("fraud"), "the model control extension")
refused(lambda: client.get_system_shared_memory_status(), "the shared memory extension")
refused(lambda: client.register_system_shared_memory("r", "/r", 8), "the shared memory extension")
refused(lambda: client.get_cuda_shared_memory_status(), "the shared memory extension")
refused(lambda: client.get_trace_settings(), "the trace extension")
refused(lambda: client.get_log_settings(), "the logging extension")
amount.set_shared_memory("r", 12)
refused(lambda: client.infer("fraud", [amount]), "the shared memory extension")
refused(lambda: client.infer("fraud", [country], sequence_id=7), "the sequence extension")
output = triton.InferRequestedOutput("score", class_count=2)
refused(lambda: client.infer("fraud", [country], outputs=[output]), "the classification extension")
if not {is_http}:
    import queue
    answers = queue.Queue()
    client.start_stream(callback=lambda result, error: answers.put(error))
    try:
        client.async_stream_infer("fraud", [country])
    except triton.InferenceServerException:
        pass  # the stream has ended already, which the callback explains
    assert "the streaming extension" in str(answers.get(timeout=30))
    client.stop_stream()
"""

TRITON_HTTP_ONLY = """
for coding in ("gzip", "deflate"):
    many = triton.InferInput("amount", [90, 1], "FP64")
    many.set_data_from_numpy(np.arange(90, dtype=np.float64).reshape(90, 1))
    packed = client.infer("fraud", [many], request_compression_algorithm=coding,
                          response_compression_algorithm=coding)
    assert packed.as_numpy("score").shape == packed.as_numpy("by").shape == (90, 1)

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
    return InferRequest(name, [tensor], request_id="q-1")

async def rest(url):
    client = InferenceRESTClient(RESTConfig(protocol="v2"))
    assert await client.is_server_ready(url) and await client.is_server_live(url)
    assert await client.is_model_ready(url, "fraud")
    for binary in (True, False):
        answer = await client.infer(url, request("fraud", binary), model_name="fraud")
        assert [list(output.shape) for output in answer.outputs] == [[2, 1], [2, 1]]
        assert answer.parameters["rdv_kind"]
    keyed = {"Idempotency-Key": "k-1"}
    same = request("fraud", False)
    first, again = [
        await client.infer(url, same, model_name="fraud", headers=keyed) for _ in range(2)
    ]
    assert first.parameters["rdv_id"] == again.parameters["rdv_id"]
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
    more = TRITON_MORE.format(is_http=True, compression='request_compression_algorithm="gzip"')
    script = TRITON.format(kind="http") + TRITON_HTTP_ONLY + more
    run(peer_python("triton"), script, ports[0], place=tmp_path)


def test_tritonclient_over_grpc(ports, peer_python, tmp_path):
    more = TRITON_MORE.format(is_http=False, compression='compression_algorithm="gzip"')
    run(peer_python("triton"), TRITON.format(kind="grpc") + more, ports[1], place=tmp_path)


def test_kserve(ports, peer_python, tmp_path):
    run(peer_python("kserve"), KSERVE, *ports, place=tmp_path)
