"""A server of one model that speaks the Open Inference Protocol, as KServe and Triton do."""

import contextlib
import json
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

MODEL = "/v2/models/gbm"
COLUMN = {"datatype": "FP64", "shape": [-1, 1]}
METADATA = {
    "name": "gbm",
    "versions": ["3"],
    "inputs": [{"name": "amount", **COLUMN}],
    "outputs": [{"name": "score", **COLUMN}],
}


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_GET(self):
        known = {"/v2/health/ready": {"ready": True}, MODEL: METADATA, f"{MODEL}/ready": {}}
        self.answer(known.get(self.path))

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.path != f"{MODEL}/infer":
            self.answer(None)
            return
        (amounts,) = json.loads(body)["inputs"]
        scores = [min(1.0, amount / 1000) for amount in amounts["data"]]
        output = {"name": "score", "datatype": "FP64", "shape": [len(scores), 1], "data": scores}
        self.answer({"model_name": "gbm", "model_version": "3", "outputs": [output]})

    def answer(self, found):
        body = json.dumps({"error": "not found"} if found is None else found).encode()
        self.send_response(404 if found is None else 200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        with contextlib.suppress(ConnectionError):  # rdv waits no longer than the schedule does
            self.end_headers()
            self.wfile.write(body)

    def log_message(self, *_):
        pass


if __name__ == "__main__":
    ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
