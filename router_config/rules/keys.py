"""Rules about client keys: whose they are, where they lead, whether they are still good."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

from ..problems import Finding, Path, did_you_mean
from .subject import Rule, Subject

__all__ = ["RULES"]


def _path(alias: str, *steps: str | int) -> Path:
    return ("embedding_router", "keys", alias, *steps)


def hash_is_unique(subject: Subject) -> Iterator[Finding]:
    seen: dict[str, str] = {}
    for alias, key in subject.config.keys.items():
        for digest in key.sha256:
            if digest in seen:
                what = f'the same key as that of "{seen[digest]}"'
                fix = 'make another with "qwen3-router key new"'
                yield Finding(_path(alias, "sha256"), what, fix)
            seen.setdefault(digest, alias)


def not_expired(subject: Subject) -> Iterator[Finding]:
    for alias, key in subject.config.keys.items():
        last = key.not_after
        if isinstance(last, datetime):
            last = last.astimezone(UTC).date() if last.tzinfo else last.date()
        if last is not None and last < subject.today:
            what = f"expired on {last}"
            yield Finding(_path(alias, "not_after"), what, "remove the key", "warning")


def known_groups(subject: Subject) -> Iterator[Finding]:
    for alias, key in subject.config.keys.items():
        for position, name in enumerate(key.groups or ()):
            if name not in subject.models:
                guess = did_you_mean(name, subject.models)
                fix = f'did you mean "{guess}"?' if guess else "name a model_name of model_list"
                yield Finding(_path(alias, "groups", position), "no group of this name", fix)


def somebody_in_the_region(subject: Subject) -> Iterator[Finding]:
    groups = subject.config.groups
    for alias, key in subject.config.keys.items():
        names = [name for name in (groups if key.groups is None else key.groups) if name in groups]
        regions = {one.region for name in names for one in groups[name].deployments}
        if key.region is not None and names and key.region not in regions:
            what = "none of its groups has a deployment there, so every request fails"
            fix = "name another region or other groups"
            yield Finding(_path(alias, "region"), what, fix, "warning")


RULES: tuple[Rule, ...] = (hash_is_unique, not_expired, known_groups, somebody_in_the_region)
