"""Every command refuses bad input with the documented exit code, a listed code and no traceback."""

from __future__ import annotations

import json
import os
import re
import shutil
from pathlib import Path

import pytest
from forking import Forker, User

from rdv.commands.exits import FAILED, INVALID, UNREACHABLE, USAGE

OF_A_DECISION = (
    "serve {}", "ask {} 1", "load {} --duration 1s", "drill {} --quick", "status {}",
    "model run {} logit", "model ls {}", "model rm {} logit", "model add {} x --builtin decoy",
    "schedule ls {}", "schedule show {}", "schedule check {}", "schedule use {} ab", "verify {}",
    "explain {} 2ad4ba3f", "whatif {} --schedule ab", "optimise {}", "outcome {} 2ad4ba3f 1",
    "replay {} --model models/logit.py", "export {} -o out", "compare {} mlp logit", "ab {}",
    "promote {} logit", "regress {}", "model worth {}", "errors {}",
)  # fmt: skip
"""Every command that takes a decision's directory, with all else right."""

OF_A_STREAM = (
    "tail {}", "stream info {}", "stream topics {}", "stream append {}:t", "stream verify {}",
    "stream repair {}", "stream purge {}", "stream cursors {}", "stream groups {}",
)  # fmt: skip
"""Every command that takes a stream's directory, with all else right."""

UNUSABLE = ("missing", "file", "missing/below", "file/below", "empty", "garbage")
"""Paths of no decision: none there, a file, one below those, an empty directory, a bad rdv.toml."""

NOT_SERVED = ("ask fraud 1", "load fraud --duration 1s")

NEVER_SERVED = (
    "verify fraud", "explain fraud 2ad4ba3f", "whatif fraud --schedule ab", "optimise fraud",
    "export fraud -o out", "compare fraud mlp logit", "promote fraud logit",
    "replay fraud --name mlp", "tail fraud", "tail fraud/input", "stream info fraud/input",
    "regress fraud", "model worth fraud", "errors fraud",
)  # fmt: skip
"""Commands that read what is on record, where nothing is."""

WRONG_USAGE = (
    "nonsense", "status", "status fraud more", "status fraud --nonsense", "init", "explain fraud",
    "whatif fraud", "replay fraud", "export fraud", "compare fraud mlp", "model add fraud x",
    "load fraud --rate 0", "load fraud --rate nan",
    "load fraud --rate 1e300", "load fraud --duration 0", "load fraud --fail-if p99>",
    "drill fraud --rate 0", "drill fraud --rate nan", "drill fraud --grace 5",
    "model run fraud logit --instances -1", "model run fraud logit --instances x",
    "verify fraud --since x", "verify fraud --since -5d", "export fraud -o out --tables ,",
    "promote fraud logit --min-requests 0", "promote fraud logit --watch 0",
    "promote fraud logit --watch x", "promote fraud logit --accept all", "tail s -n -1",
    "tail s -n x", "tail s --since x", "stream create new --fsync never",
    "stream create new --retention -1", "serve fraud --port x", "serve fraud --port 0",
    "serve fraud --port 65536", "serve fraud --in-process --direct logit",
)  # fmt: skip

NOT_USABLE = (
    "init fraud", "init file", "init file/below", "init new --template none",
    "init new --model a=file --default {}", "serve fraud --direct none", "ask fraud {",
    "load fraud --data missing", "load fraud --data empty", "load fraud --data file",
    "load fraud --data zero", "drill fraud --faults none", "drill fraud --data file",
    "drill fraud -o empty", "drill fraud -o missing/report.json", "model run fraud none",
    "model run fraud x --path file", "model run fraud x --path empty",
    "model run fraud x --path missing", "model run fraud x -- missing-program",
    "model add fraud x --path file", "model add fraud x --path empty",
    "model add fraud x --path missing", "model add fraud ../x --builtin decoy",
    "model add fraud logit --builtin decoy", "model rm fraud none", "schedule show fraud none",
    "schedule show fraud ../ab", "schedule check fraud none", "schedule use fraud none",
    "explain fraud x", "whatif fraud --schedule ./file", "whatif fraud --schedule ./empty",
    "whatif fraud --schedule ./zero", "whatif fraud --schedule none",
    "whatif fraud --schedule ab --html empty", "optimise fraud -o empty",
    "outcome fraud 2ad4ba3f {", "outcome fraud --from file", "outcome fraud --from empty",
    "outcome fraud --from missing", "replay fraud --model file", "replay fraud --model empty",
    "export fraud -o file", "export fraud -o file/below", "export fraud -o out --tables none",
    "compare fraud mlp mlp", "compare fraud mlp logit --html empty", "ab fraud --html empty",
    "promote fraud none", "promote fraud logit --over none", "promote fraud mlp",
    "tail s:none", "tail s:a:b", "stream create s", "stream create fraud", "stream create file",
    "stream create file/below", "stream create new --partitions 0", "stream create new:../t",
    "stream append s:../t", "stream verify s:none", "stream repair s:none", "stream bench file",
)  # fmt: skip

CASES = [
    *((line.format(path), INVALID) for line in OF_A_DECISION for path in UNUSABLE),
    *((line.format(path), INVALID) for line in OF_A_STREAM for path in UNUSABLE),
    *((line.format("fraud"), INVALID) for line in OF_A_STREAM),
    *((line, UNREACHABLE) for line in NOT_SERVED),
    *((line, INVALID) for line in NEVER_SERVED),
    *((line, USAGE) for line in WRONG_USAGE),
    *((line, INVALID) for line in NOT_USABLE),
]

FORBIDDEN = [
    *(line.format("closed") for line in OF_A_DECISION),
    *(line.format("closed/input") for line in OF_A_STREAM),
    "init closed/new", "stream create closed/new", "optimise fraud -o closed/new.toml",
    "ask fraud 1 --schedule @closed/rdv.toml", "outcome fraud --from closed/rdv.toml",
]  # fmt: skip
"""Commands on a directory that the user has no permission to enter."""


@pytest.fixture
def place(decision, stream):
    """A decision that was never served, a stream, and things of the wrong kind beside them."""
    Path("file").write_bytes(b"\xff\xfe\x00[= not anything")
    Path("zero").touch()
    Path("empty").mkdir()
    Path("garbage").mkdir()
    shutil.copy("file", "garbage/rdv.toml")
    return decision


@pytest.fixture(scope="module")
def listed():
    text = (Path(__file__).parents[2] / "CODES.md").read_text()
    return {*re.findall(r"(?m)^\| `(\w+)` ", text), "wrong_usage"}


def test_bad_input_has_the_documented_exit_code(place, rdv):
    wrong = []
    for line, code in CASES:
        done = rdv(*line.split())
        if done.code != code or "Traceback" in done.err or "error: " not in done.err:
            wrong.append(f"{line}: {done.code} instead of {code}: {done.err or done.out}")
    assert not wrong, "\n".join(wrong)


def test_bad_input_has_a_code_that_is_listed(place, rdv, listed):
    wrong = []
    for line, _ in CASES:
        words = line.split()
        at = words.index("--") if "--" in words else len(words)
        done = rdv(*words[:at], "--json", *words[at:])
        *_, last = done.err.splitlines()
        if "No such option" in last:
            continue  # a group or a command without --json
        error = json.loads(last)["error"] if last.startswith("{") else {}
        if error.get("code") not in listed or not error.get("message"):
            wrong.append(f"{line}: {done.err}")
    assert not wrong, "\n".join(wrong)


def test_what_the_user_may_not_enter_has_exit_code_1(place):
    """Root is stopped, too: the commands run without the capability to bypass permissions."""
    shutil.copytree("fraud", "closed")
    os.chmod("closed", 0)
    wrong = []
    try:
        with Forker() as forker:
            for line in FORBIDDEN:
                code, _, err = forker.run(*line.split(), user=User(drops=True))
                if code != FAILED or "no permission" not in err or "Traceback" in err:
                    wrong.append(f"{line}: {code}: {err}")
    finally:
        os.chmod("closed", 0o700)
    assert not wrong, "\n".join(wrong)
