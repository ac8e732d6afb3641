"""Check completion: in bash by running it, in zsh and fish by the calls of their scripts."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ENVIRONMENT = {
    **os.environ,
    "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
}


def output_of(*command, **more):
    done = subprocess.run(
        command, env=ENVIRONMENT | more, capture_output=True, text=True, check=True, timeout=120
    )
    return done.stdout


def complete_in_bash(words):
    script = f"""
    eval "$(_RDV_COMPLETE=source_bash rdv)"
    COMP_WORDS=({words}); COMP_CWORD=$(( ${{#COMP_WORDS[@]}} - 1 ))
    _rdv_completion rdv
    printf '%s\\n' "${{COMPREPLY[@]}}"
    """
    return output_of("bash", "-c", script).split()


@pytest.mark.parametrize(
    ("words", "found"),
    [
        ("rdv sch", ["schedule"]),
        ("rdv schedule c", ["check"]),
        ("rdv stream app", ["append"]),
        ("rdv tail --fol", ["--follow"]),
        ("rdv tail --format ''", ["table", "json", "raw"]),
    ],
)
def test_bash_completes_commands_options_and_values(words, found):
    assert complete_in_bash(words) == found


def test_zsh_and_fish_get_commands_with_what_they_do():
    asked = {"_TYPER_COMPLETE_ARGS": "rdv sch"}
    assert '"schedule":"Show, check' in output_of("rdv", _RDV_COMPLETE="complete_zsh", **asked)
    found = output_of(
        "rdv", _RDV_COMPLETE="complete_fish", _TYPER_COMPLETE_FISH_ACTION="get-args", **asked
    )
    assert found.startswith("schedule\tShow, check")


@pytest.mark.parametrize(
    ("shell", "mark"), [("zsh", "compdef"), ("fish", "complete --command rdv")]
)
def test_each_shell_gets_its_script(shell, mark):
    assert mark in output_of("rdv", _RDV_COMPLETE=f"source_{shell}")
