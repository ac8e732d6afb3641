"""Runs the process `notify` of a decision: it posts events to webhooks. No request waits for it."""

from __future__ import annotations

import contextlib
import logging
import os
import select
import threading

from rdv.decision import load_decision
from rdv.notify.delivery import Delivery
from rdv.serve.process import Waker
from rdv.system.orphans import stop_without_parent

NICE = 19
STOP_S = 2.0


def run_notify(directory: str) -> None:
    """Post events until SIGTERM or SIGINT. Raises RdvErrors of the configuration.

    It ends with exit code 1 when a webhook's thread has ended by an error: it is started again.
    """
    with contextlib.suppress(OSError):
        os.nice(NICE)
    logging.getLogger("httpx").setLevel(logging.WARNING)  # else each call is a line
    waker = Waker()
    waker.stop_on_signals()
    stop_without_parent(waker.stop)
    decision = load_decision(directory)
    failed = threading.Event()

    def fail() -> None:
        failed.set()
        waker.stop()

    webhooks = decision.notify.webhooks.items()
    deliveries = [Delivery(decision, name, webhook, os.environ, fail) for name, webhook in webhooks]
    for delivery in deliveries:
        delivery.start()
    while not waker.stopping:
        select.select([waker], [], [])
        waker.drain()
    for delivery in deliveries:
        delivery.stop(STOP_S / max(1, len(deliveries)))
    if failed.is_set():
        raise SystemExit(1)
