"""Rules about `embedding_router.health`: numbers that contradict each other."""

from __future__ import annotations

from collections.abc import Iterator

from ..problems import Finding
from .subject import Rule, Subject

__all__ = ["RULES"]


def first_ejection_is_not_the_longest(subject: Subject) -> Iterator[Finding]:
    health = subject.config.health
    if health.base_s > health.max_s:
        written = "base_s" if subject.written("embedding_router", "health", "base_s") else "max_s"
        path = ("embedding_router", "health", written)
        what = f"the first ejection ({health.base_s:g} s) is longer than the longest"
        yield Finding(path, what, f"write base_s and max_s so that base_s <= {health.max_s:g}")


RULES: tuple[Rule, ...] = (first_ejection_is_not_the_longest,)
