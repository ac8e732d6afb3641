"""Evaluate a row before a worker is ready, so that late imports cost no request its time.

The row is the newest recorded request, or is made from the model's columns; without either there is
none. Its result goes nowhere. A row that ends the process is not evaluated again by this version.
"""

from __future__ import annotations

import contextlib
import logging
import os
import threading

from rdv.coded import coded
from rdv.decision import ModelConfig
from rdv.decision.recorded import recent_data
from rdv.models import Model, ModelError, evaluate
from rdv.models.columns import columns_of, made_row
from rdv.serve.process import HANGS
from rdv.serve.worker.crash_record import unfinished_ids
from rdv.stream import Stream

log = logging.getLogger("rdv.worker")


def warm_up(model: Model, requests: Stream, config: ModelConfig, folder: str, name: str) -> None:
    """Evaluate one row; `folder` has the notes of workers, `name` is that of this one.

    A failure is logged only. A hang ends the process, as it does in a batch.
    """
    if model.takes == "lines" or config.http:  # a server was there before
        return
    mark = os.path.join(folder, f"warm-up.{name}")
    with contextlib.suppress(OSError), open(mark, encoding="utf-8", errors="replace") as file:
        if file.read() == model.version:
            return
    rows = recent_data(requests, 1, unfinished_ids(folder, name.rpartition("-")[0]))
    if not rows and (columns := columns_of(model)):
        rows = [made_row(columns)]
    if not rows:
        return
    try:
        os.makedirs(folder, 0o700, exist_ok=True)
        with open(mark, "w", encoding="utf-8", errors="replace") as file:
            file.write(model.version)
    except OSError:
        return  # an endless series of crashes would be worse than a cold start
    # A model in another process has its own limits, which come first.
    limit_ms = config.predict_timeout_ms + (config.start_timeout_ms if config.command else 0)
    timer = threading.Timer(limit_ms / 1000 + 1, _hangs, (name,))
    timer.daemon = True
    timer.start()
    try:
        (outcome,) = evaluate(model, rows)
    finally:
        timer.cancel()
    with contextlib.suppress(OSError):
        os.unlink(mark)
    if isinstance(outcome, ModelError):
        log.info("%s: the warm-up row had no result: %s", name, outcome)


def _hangs(name: str) -> None:
    log.error("%s hangs in its warm-up row", name, extra=coded("model_hangs"))
    os._exit(HANGS)
