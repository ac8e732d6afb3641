"""The names of a decision's streams and topics, and how many partitions each stream has. Pure.

Every (topic, partition) has one writing process: a proxy has its own topic in `input` and in
`outcomes` and two in `results`, a model has one in `scores`, and a server writes the partitions
that it serves. So a process that is stopped while it holds a partition's lock delays no other
process. (`rdv outcome` and the commands that edit files have a topic each too, for any number of
short-lived processes, which can only delay each other.)
"""

from __future__ import annotations

INPUT = "input"
SCORES = "scores"
RESULTS = "results"
CONTROL = "control"
OUTCOMES = "outcomes"
STREAMS = (INPUT, SCORES, RESULTS, CONTROL, OUTCOMES)

DIVIDED = (INPUT, SCORES, RESULTS)
"""Streams whose topics have as many partitions as rdv.toml says; the topics of others have one."""

SCHEDULE_TOPIC = "schedule"
"""In `control`: every accepted version of a schedule, with the time it went live."""

COHORTS_TOPIC = "cohorts"
"""In `control`: every accepted version of [cohorts], and since when it has been in force."""

MODELS_TOPIC = "models"
"""In `control`: models that have come up or gone down, so that no server waits for a dead one."""

STATUS_TOPIC = "status"
"""In `control`: the status of every process, about once a second."""

SCALING_TOPIC = "scaling"
"""In `control`: how many instances of a model there are, and why. Written by the supervisor."""

EVENTS_TOPIC = "events"
"""In `control`: what the supervisor has done and seen (`rdv.decision.events`)."""

COMMANDS_TOPIC = "commands"
"""In `control`: what commands have changed. They write it while they hold the directory's lock."""

CLI_TOPIC = "cli"
"""In `outcomes`: those that `rdv outcome` has recorded. A proxy's are in its own topic."""

BACKSTOP_SUFFIX = ".proxy"
"""The suffix of a topic in `results` with the answers of a proxy itself: `backstop_topic`."""


def proxy_name(port: int) -> str:
    """Return a proxy's name: its topic in `input`, and in `results` (the return address)."""
    return f"p-{port}"


def backstop_topic(proxy: str) -> str:
    """Return the topic in `results` for the answers of the proxy itself, after the SLA.

    If an id is in both of a proxy's topics, this one is what the client received: the server's
    result came too late. So every answered request has exactly one valid result.
    """
    return f"{proxy}{BACKSTOP_SUFFIX}"
