"""Rules about what a worker takes in."""

from __future__ import annotations

from collections.abc import Iterator

from ..problems import Finding
from .subject import Rule, Subject

__all__ = ["RULES"]


def a_whole_body_fits(subject: Subject) -> Iterator[Finding]:
    config = subject.config
    if config.gateway.max_queued_mb >= config.max_body_mb:
        return
    written = subject.written("embedding_router", "gateway", "max_queued_mb") is not None
    steps = ("gateway", "max_queued_mb") if written else ("max_body_mb",)
    what = (
        f"room for {config.gateway.max_queued_mb} MB of request bodies, "
        f"and one may have {config.max_body_mb}"
    )
    yield Finding(
        ("embedding_router", *steps), what, "raise gateway.max_queued_mb or lower max_body_mb"
    )


def a_cache_that_is_off_has_no_exceptions(subject: Subject) -> Iterator[Finding]:
    if subject.config.cache.enabled:
        return
    for name, entry in (subject.section.groups or {}).items():
        if entry.cache:
            path = ("embedding_router", "groups", name, "cache")
            what = "the cache of a group, and embedding_router.cache.enabled is false"
            yield Finding(path, what, "enable the one or remove the other", "warning")


RULES: tuple[Rule, ...] = (a_whole_body_fits, a_cache_that_is_off_has_no_exceptions)
