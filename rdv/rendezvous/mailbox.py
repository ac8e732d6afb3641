"""A `Mailbox` is what the engine holds for one open request."""

from __future__ import annotations

from rdv.messages import Arrival, Request, Score, score_outcome
from rdv.rendezvous.plan import Plan, PlanStep


class Mailbox:
    """A `Mailbox` is one open request: small, as there may be a million.

    The engine changes its fields.
    """

    __slots__ = (
        "arrived",
        "cohort",
        "deadline_ns",
        "due_ns",
        "id",
        "is_open",
        "plan",
        "reply_to",
        "start_ns",
        "step",
    )

    def __init__(self, request: Request, plan: Plan, start_ns: int, deadline_ns: int) -> None:
        self.id = request.id
        self.reply_to = request.reply_to
        self.cohort = request.cohort
        self.plan = plan
        self.start_ns = start_ns
        self.deadline_ns = deadline_ns
        self.step: PlanStep = plan.steps[0]
        self.due_ns = min(start_ns + self.step.end_ns, deadline_ns)
        """The time when the step ends, and the engine must look at the mailbox."""
        self.arrived: dict[str, tuple[int, Score]] = {}
        """Reports by model, in order of arrival: the time (ns on the engine's clock), and the
        report."""
        self.is_open = True

    def next_step(self) -> bool:
        """Move on to the next step; False when there is none."""
        steps = self.plan.steps
        if self.step.number == len(steps):
            return False
        self.step = step = steps[self.step.number]
        self.due_ns = min(self.start_ns + step.end_ns, self.deadline_ns)
        return True

    def waited_ms(self, now_ns: int) -> float:
        """Return the milliseconds since the start, floored to microseconds (see `plan.to_ns`)."""
        return max(0, now_ns - self.start_ns) // 1000 / 1000

    def arrivals(self) -> list[Arrival]:
        start_ns = self.start_ns
        return [
            Arrival(model, (at_ns - start_ns) // 1000 / 1000, score_outcome(score))
            for model, (at_ns, score) in self.arrived.items()
        ]
