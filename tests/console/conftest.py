"""A made decision, and a client of its page."""

from __future__ import annotations

import msgspec
import orjson
import pytest
from made_log import MadeLog, make_requests, make_score
from made_page import COUNT, HOSTILE, QUOTED, page_of, write_settings

import rdv


def quoting(action):
    answer = {"score": 0.5, "action": action, "note": f"card {QUOTED}"}
    return msgspec.Raw(orjson.dumps(answer))


@pytest.fixture(scope="session")
def made(tmp_path_factory):
    """A recorded decision. Request 7 has a hostile error, and data of which a part is hidden."""
    directory = tmp_path_factory.mktemp("page") / "fraud"
    directory.mkdir()
    requests = make_requests(COUNT)
    seven = requests[7]
    seven.reports = [
        (2.0, make_score(seven.id, "gbm", error=f"{HOSTILE} of card 4111-1111")),
        (3.0, make_score(seven.id, "logit")),
    ]
    seven.key = HOSTILE
    data = {"n": 7, "card": "4111-1111", "home": {"street": "Elm Street", "town": HOSTILE}}
    plain = seven.message
    seven.message = lambda: msgspec.structs.replace(plain(), data=msgspec.Raw(orjson.dumps(data)))
    requests[8].reports = []
    eleven = requests[11]  # its key and all answers quote what is hidden
    eleven.key = QUOTED
    eleven.reports = [
        (2.0, make_score(eleven.id, "gbm", result=quoting("hold"))),
        (3.0, make_score(eleven.id, "logit", result=quoting("pass"))),
        (4.0, make_score(eleven.id, "rules", error=f"KeyError: {QUOTED}")),
    ]
    message = eleven.message
    hidden = msgspec.Raw(orjson.dumps({"n": 11, "card": QUOTED}))
    eleven.message = lambda: msgspec.structs.replace(message(), data=hidden)
    log = MadeLog(requests)
    log.write(directory)
    write_settings(directory)
    outcomes = [(one.id, "block" if one.number % 3 else "pass") for one in requests[::2]]
    rdv.open(str(directory)).record_outcomes(outcomes)
    return log, directory


@pytest.fixture(scope="session")
def log(made):
    return made[0]


@pytest.fixture(scope="session")
def directory(made):
    return made[1]


@pytest.fixture(scope="session")
def page(directory):
    with page_of(directory) as client:
        yield client
