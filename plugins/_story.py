"""What LiteLLM is told of a request that the fast path has served: its attempts, one by one.

LiteLLM's Router then walks through them as if it had made them, and calls everybody who listens.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from plugins._pool import Candidate

__all__ = ["Step", "Story"]


@dataclass(frozen=True, slots=True)
class Step:
    """One deployment that was tried, from when to when, and whether that completed the request."""

    candidate: Candidate
    began: datetime
    ended: datetime
    completed: bool


@dataclass(slots=True)
class Story:
    """The steps of a request, and how many of them were told."""

    steps: list[Step] = field(default_factory=list)
    told: int = 0

    def complete(self, candidate: Candidate) -> None:
        """Note that the request is complete, by known vectors of *candidate*."""
        if not self.steps or not self.steps[-1].completed:
            now = datetime.now()
            self.steps.append(Step(candidate, now, now, completed=True))

    def coming(self) -> Step | None:
        """Return the step that is told next, or None at the end."""
        return self.steps[self.told] if self.told < len(self.steps) else None

    def tell(self) -> Step | None:
        """Return the step that is told now."""
        step = self.coming()
        self.told += 1
        return step
