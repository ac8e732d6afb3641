"""`rdv serve --direct MODEL` and `--in-process`: smaller stages, in this very process."""

from __future__ import annotations

import sys

from rdv.config import Decision, ModelNotFound


def serve_stage(decision: Decision, direct: str | None) -> None:
    """Serve one model, or everything over streams in memory, until SIGTERM or SIGINT."""
    from rdv.commands.component import log_to_stderr
    from rdv.components.stages import run_direct, run_in_process

    log_to_stderr()
    if direct is None:
        sys.stderr.write("one process, streams in memory: nothing is kept\n")
        run_in_process(decision.directory)
        return
    if direct not in decision.models:
        raise ModelNotFound(decision.directory, direct, tuple(decision.models))
    sys.stderr.write(f"{direct} alone behind the door, without streams: nothing is kept\n")
    run_direct(decision.directory, direct)
