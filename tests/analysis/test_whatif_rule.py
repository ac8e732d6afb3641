"""Check that the vectorised rule makes the same decisions as the engine."""

from __future__ import annotations

import numpy as np
from histories import BASE_NS, HOST, MODELS, make_request, schedules
from hypothesis import given, settings
from hypothesis import strategies as st
from made_log import make_score

from rdv.analysis.dataset.joined import KINDS
from rdv.analysis.whatif import decide as rule
from rdv.analysis.whatif.arrivals import FOREVER_US, KEY_BITS, NEVER_KEY, Arrivals
from rdv.analysis.whatif.decide import decide_all
from rdv.rendezvous.engine import Engine

ALL = (*MODELS, "e")
SAYINGS = (
    {"result": "1"},
    {"result": "2.5"},
    {"result": '"x"'},
    {"refusal": "behind"},
    {"error": "b"},
    {"refusal": "bad input"},
)

times_us = st.integers(0, 160).map(lambda halves: halves * 500)
reports = st.tuples(times_us, st.integers(0, 5))
rows = st.tuples(
    st.lists(reports, max_size=5).map(lambda found: found),
    st.permutations(range(5)),
    st.none() | st.none() | st.integers(0, 80).map(float),
    st.just([]) | st.lists(st.sampled_from(MODELS), unique=True, max_size=3),
)


def play(schedule, live, dead, row):
    """Return the engine's result for one request."""
    said, order, deadline_ms, left_out = row
    engine = Engine(HOST, {"s": schedule}, "s", live)
    for model in sorted(dead):
        engine.model_down(model, 0)
    asked = {"not_asked": left_out, "names_models": bool(left_out)}
    request = make_request("r", BASE_NS, deadline_ms=deadline_ms, **asked)
    found = engine.request(request, BASE_NS)
    events = sorted(
        (at_us, order[number], ALL[number], what)
        for number, (at_us, what) in enumerate(said)
        if ALL[number] not in left_out
    )
    for at_us, _, model, what in events:
        at_ns = BASE_NS + at_us * 1000
        while not found and (due := engine.next_deadline()) is not None and due <= at_ns:
            found += engine.tick(due)
        found += engine.score(score_of(model, what), at_ns)
    while not found:
        found += engine.tick(engine.next_deadline())
    (result,) = found
    return result


def score_of(model, what):
    import msgspec

    said = dict(SAYINGS[what])
    if "result" in said:
        said["result"] = msgspec.Raw(said["result"].encode())
    return make_score("r", model, **said)


def columns(drawn, live, dead):
    count = len(drawn)
    key = np.full((len(ALL), count), NEVER_KEY, np.int64)
    is_answer = np.zeros((len(ALL), count), bool)
    wait_us = np.full(count, FOREVER_US, np.int64)
    is_bad, gone = np.zeros((len(ALL), count), bool), np.zeros((len(ALL), count), bool)
    for row, (said, order, deadline_ms, left_out) in enumerate(drawn):
        for number, (at_us, what) in enumerate(said):
            if ALL[number] in left_out:
                continue
            is_bad[number, row] = SAYINGS[what].get("refusal") == "bad input"
            key[number, row] = (at_us << KEY_BITS) | order[number]
            is_answer[number, row] = "result" in SAYINGS[what]
        for name in left_out:  # a refusal at the start
            number = ALL.index(name)
            gone[number, row], key[number, row] = True, -1
        if deadline_ms is not None:
            wait_us[row] = round(deadline_ms * 1000)
    is_live = np.array([model in live and model not in dead for model in ALL])
    is_dead = np.array([model in dead for model in ALL])
    return Arrivals(ALL, key, is_answer, wait_us, is_live, is_dead, is_bad, gone)


@given(
    schedules(),
    st.lists(rows, min_size=1, max_size=30),
    st.sets(st.sampled_from(MODELS)),
    st.sets(st.sampled_from(MODELS), max_size=2),
    st.sampled_from([1, 7, 32_768]),
)
@settings(derandomize=True, deadline=None, max_examples=150)
def test_it_equals_the_engine(schedule, drawn, live, dead, block_rows) -> None:
    rule.BLOCK_ROWS = block_rows
    try:
        decided = decide_all(schedule, columns(drawn, live, dead))
    finally:
        rule.BLOCK_ROWS = 32_768
    for row, drawn_row in enumerate(drawn):
        result = play(schedule, sorted(live), dead, drawn_row)
        # Marks and numbers can always be combined, so no combination fails here.
        assert KINDS[decided.kind[row]] == result.kind
        assert decided.step[row] == result.step
        assert decided.at_us[row] == round(result.waited_ms * 1000)
        models = () if result.model is None else result.model.split("+")
        best = None if decided.model[row] < 0 else ALL[decided.model[row]]
        assert best == (models[0] if models else None)
        if decided.is_combined[row]:
            assert {ALL[n] for n in np.flatnonzero(decided.winners[:, row])} == set(models)
        else:
            assert len(models) < 2
