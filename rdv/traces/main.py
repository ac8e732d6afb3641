"""Runs the process `traces` of a decision: it exports what is decided to a collector.

No request waits for it. `rdv serve` starts it where there is an address to export to.
"""

from __future__ import annotations

import contextlib
import os
import select
import threading

from rdv.clock import SYSTEM_CLOCK
from rdv.decision import Decision, load_decision
from rdv.decision.accepted import read_published
from rdv.errors import RdvError
from rdv.serve.process import Waker
from rdv.serve.status import StatusWriter
from rdv.stream import open_stream
from rdv.system.orphans import stop_without_parent
from rdv.traces.exporter import Exporter

NAME = "traces"
STEP_S = 0.5
STOP_S = 2.0
NICE = 19


def run_traces(directory: str) -> None:
    """Export until SIGTERM or SIGINT. Raises RdvErrors of the configuration, TracesMissing."""
    os.nice(NICE)
    decision = load_decision(directory)
    waker = Waker()
    waker.stop_on_signals()
    stop_without_parent(waker.stop)
    exporter = Exporter(directory, lambda: _in_force(directory), os.environ, SYSTEM_CLOCK)
    with contextlib.ExitStack() as stack:
        control = stack.enter_context(
            open_stream(decision.stream_path("control"), config=decision.log.stream_config(1))
        )
        status = StatusWriter(control, NAME, NAME, SYSTEM_CLOCK)
        stack.callback(status.close)
        thread = threading.Thread(target=exporter.run, name="rdv-traces", daemon=True)
        thread.start()
        while not waker.stopping:
            if status.is_due():
                status.write("ready", _figures(exporter))
            select.select([waker], [], [], STEP_S)
            waker.drain()
            if not thread.is_alive():
                raise SystemExit(1)  # a bug has ended it, and is logged
        exporter.stop()
        thread.join(STOP_S)
        status.write("stopped", _figures(exporter))


def _in_force(directory: str) -> Decision:
    """Return the settings that `rdv serve` has accepted, else those of the directory."""
    try:
        return read_published(directory).decision
    except RdvError:
        return load_decision(directory)


def _figures(exporter: Exporter) -> dict[str, object]:
    counts, until_ns = exporter.counts, exporter.until_ns
    lag_s = max(0.0, (SYSTEM_CLOCK.wall_ns() - until_ns) / 1e9) if until_ns else 0.0
    return {
        "decisions": counts.decisions,
        "spans": counts.spans,
        "rejected": counts.rejected,
        "dropped": counts.dropped,
        "lag_s": round(lag_s, 1),
        "trouble": exporter.trouble,
        "trouble_code": "traces_not_exported" if exporter.trouble else "",
    }
