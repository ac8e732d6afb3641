"""Following a running decision: its records as they come, joined by request, in bounded memory.

    follower = Follower("fraud")
    while True:
        update = follower.read()          # an `Update`: joined requests, control records, outcomes
        …
        save(path, follower.state(), …)   # with what was computed from the updates, atomically
        if not update.has_more:
            wait(EVERY_S)

`follow` joins, `feed` reads new records from saved positions on, `state` is what is saved. Every
request is handed on once, when its deadline and a bounded time for late reports are over; a process
that is killed goes on from its saved state, and hands on again exactly what was not saved.
"""

from rdv.live.feed import ControlRecord
from rdv.live.follow import EVERY_S, Follower, Update
from rdv.live.state import FollowState, load, save

__all__ = ["EVERY_S", "ControlRecord", "FollowState", "Follower", "Update", "load", "save"]
