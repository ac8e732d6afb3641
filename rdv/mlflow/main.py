"""Runs the process `mlflow` of a decision: it follows the aliases of an MLflow registry.

No request waits for it. `rdv serve` starts it where rdv.toml names a model of a registry.
"""

from __future__ import annotations

import contextlib
import logging
import os
import select
import threading

from rdv.clock import SYSTEM_CLOCK
from rdv.decision import load_decision
from rdv.errors import RdvError
from rdv.mlflow.follower import Follower
from rdv.mlflow.webhook import serve_webhook
from rdv.serve.observer import Observer
from rdv.serve.process import Waker
from rdv.serve.status import StatusWriter
from rdv.stream import open_stream

NAME = "mlflow"
STEP_S = 0.5
STOP_S = 2.0


def run_mlflow(directory: str) -> None:
    """Follow the aliases until SIGTERM or SIGINT. Raises RdvErrors, such as AddressTaken."""
    logging.getLogger("httpx").setLevel(logging.WARNING)  # else each question is a line
    decision = load_decision(directory)
    waker = Waker()
    waker.stop_on_signals()
    follower = Follower(directory, lambda model: scored(directory, model), os.environ)
    with contextlib.ExitStack() as stack:
        control = stack.enter_context(
            open_stream(decision.stream_path("control"), config=decision.log.stream_config(1))
        )
        if port := decision.mlflow.webhook_port:
            secret = os.environ.get("MLFLOW_WEBHOOK_SECRET", "")
            stack.enter_context(serve_webhook(decision.http.host, port, secret, follower.poke))
        status = StatusWriter(control, "mlflow", NAME, SYSTEM_CLOCK)
        stack.callback(status.close)
        thread = threading.Thread(target=follower.run, name="rdv-mlflow", daemon=True)
        thread.start()
        while not waker.stopping:
            if status.is_due():
                status.write("ready", _figures(follower))
            select.select([waker], [], [], STEP_S)
            waker.drain()
            if not thread.is_alive():
                raise SystemExit(1)  # a bug has ended it, and is logged
        follower.stop()
        thread.join(STOP_S)
        status.write("stopped", _figures(follower))


def _figures(follower: Follower) -> dict[str, object]:
    code = "mlflow_not_followed" if follower.problem else ""
    return {"polls": follower.polls, "trouble": follower.problem, "trouble_code": code}


def scored(directory: str, model: str) -> int:
    """Return how many requests a model has scored since its processes were started."""
    try:
        with Observer(load_decision(directory), window_s=0.001) as observer:
            rows = observer.look()["models"]
    except RdvError:
        return 0
    return max((int(row.get("scored") or 0) for row in rows if row["model"] == model), default=0)
