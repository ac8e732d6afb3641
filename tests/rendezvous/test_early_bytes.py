"""Check that scores which come before their request are bounded in bytes, too."""

from __future__ import annotations

from msgspec import Raw

from rdv.rendezvous.limits import Counters
from rdv.rendezvous.mailbox import EarlyScores
from rdv.rendezvous.messages import Score


def test_large_scores_make_room_for_newer_ones() -> None:
    counters = Counters()
    early = EarlyScores(1_000, 10**12, counters, 10_000)
    for number in range(50):
        early.keep(Score(f"r{number}", "gbm", "1", 0, result=Raw(b"1" * 1_000)), number)
        assert len(early) <= 10
    assert counters.evicted + len(early) == 50
    assert early.take("r49")
    early.keep(Score("huge", "gbm", "1", 0, result=Raw(b"1" * 50_000)), 51)
    early.keep(Score("next", "gbm", "1", 0, result=Raw(b"1")), 52)
    early.keep(Score("more", "gbm", "1", 0, result=Raw(b"1" * 9_000)), 53)
    assert not early.take("huge")
