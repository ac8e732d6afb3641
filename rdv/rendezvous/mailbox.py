"""What the engine holds for one open request."""

from __future__ import annotations

from rdv.messages import Arrival, Request, Score, score_outcome
from rdv.rendezvous.plan import Plan, PlanStep


class Mailbox:
    """One open request: small, for there may be a million. The engine changes its fields."""

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
        """When the step ends, and somebody must look at the mailbox."""
        self.arrived: dict[str, tuple[int, Score]] = {}
        """Reports by model, in order of arrival: when (ns on the engine's clock), and what."""
        self.is_open = True

    def next_step(self) -> bool:
        """Move on; False when there is no further step."""
        steps = self.plan.steps
        if self.step.number == len(steps):
            return False
        self.step = step = steps[self.step.number]
        self.due_ns = min(self.start_ns + step.end_ns, self.deadline_ns)
        return True

    def waited_ms(self, now_ns: int) -> float:
        """From the start of the request, floored to microseconds (`plan.to_ns` says why)."""
        return max(0, now_ns - self.start_ns) // 1000 / 1000

    def arrivals(self) -> list[Arrival]:
        start_ns = self.start_ns
        return [
            Arrival(model, (at_ns - start_ns) // 1000 / 1000, score_outcome(score))
            for model, (at_ns, score) in self.arrived.items()
        ]
