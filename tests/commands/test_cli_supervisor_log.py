"""Check the output of `rdv serve`."""

from __future__ import annotations

import pytest
from test_cli_processes import run_on_terminal

from rdv.commands.supervisor_log import SupervisorLog


def test_lines_have_a_time_and_a_prefix_as_wide_as_the_longest(capfd):
    log = SupervisorLog(["server-0", "committee-0"])
    log.child_line("server-0", "hello \x1b[2J")
    log.own_line("stopped")
    first, second = capfd.readouterr().err.splitlines()
    assert first[8:] == " server-0    | hello \\x1b[2J"
    assert second[8:] == " rdv         | stopped"


SCRIPT = """
from rdv.commands.supervisor_log import SupervisorLog
log = SupervisorLog(["a-0", "b-0"])
for name in ("a-0", "b-0", "a-0"):
    log.child_line(name, "text")
"""


@pytest.mark.parametrize("no_color", ["", "1"])
def test_every_process_has_its_colour_on_a_terminal(command_line, no_color):
    python = command_line()[0]
    code, shown = run_on_terminal([python, "-c", SCRIPT], NO_COLOR=no_color)
    assert code == 0
    starts = [line.partition("text")[0][:5] for line in shown.splitlines()]
    if no_color:
        assert all("\x1b" not in start for start in starts)
    else:
        assert starts[0] == starts[2] != starts[1]
        assert all(start.startswith("\x1b[") for start in starts)
