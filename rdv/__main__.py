"""`python -m rdv` and the `rdv` command start here."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from rdv.system.standard_streams import open_standard_streams


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code. An interrupt and a closed pipe end quietly."""
    try:
        open_standard_streams()
        # Imported in here, so that Ctrl-C is quiet even while Python is still importing.
        given = list(sys.argv[1:] if arguments is None else arguments)
        # Exports, reports, scratch files: requests are personal data wherever they are written.
        os.umask(os.umask(0o077) | 0o077)
        if given[:1] == ["component"]:
            # The supervisor starts components this way, and restarts them while requests wait, so
            # typer is not imported.
            from rdv.commands.component import launch

            return launch(given[1:])
        from rdv.commands.app import run
        from rdv.commands.exits import INTERRUPTED, PIPE_CLOSED

        code = run(arguments)
    except KeyboardInterrupt:
        code = INTERRUPTED
    except BrokenPipeError:
        code = PIPE_CLOSED
    _drop_unwritable_output()
    return code


def _drop_unwritable_output() -> None:
    """Discard output that cannot be written, so that it does not fail again at shutdown."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, stream.fileno())
            os.close(nowhere)


if __name__ == "__main__":
    sys.exit(main())
