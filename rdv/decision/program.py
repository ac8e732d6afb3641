"""Check that the program of a model's command can be started on this machine."""

from __future__ import annotations

import os
import shutil

from rdv.decision.decision import Decision
from rdv.decision.model import ModelConfig
from rdv.errors import InputFault


class ProgramNotFound(InputFault):
    """The command of a model names a program that does not exist; `looked` is where."""

    program: str
    looked: str
    advice: str = ""

    _text = "there is no program {program!r}: looked {looked}"

    def hint(self) -> str:
        return self.advice


def check_program(decision: Decision, model: ModelConfig) -> None:
    """Check that the command of a model can be started here. Raises ProgramNotFound."""
    if not model.command:
        return
    program = model.command[0]
    if os.path.dirname(program):
        place = os.path.abspath(decision.path(program))
        if not shutil.which(place):
            found = "it is there, but not executable" if os.path.exists(place) else ""
            raise ProgramNotFound(program, f"at {place}", found and f"chmod +x {place}")
    elif not shutil.which(program):
        there = os.path.isfile(decision.path(program))
        advice = f"For the decision's file write ./{program}" if there else ""
        raise ProgramNotFound(program, "in all of $PATH", advice)
