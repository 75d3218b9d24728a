"""Rules about parity: a recorded reference that the file names is there."""

from __future__ import annotations

from collections.abc import Iterator

from ..problems import Finding, Path
from .subject import Rule, Subject

__all__ = ["RULES"]


def reference_is_there(subject: Subject) -> Iterator[Finding]:
    for path, written in _references(subject):
        if not (subject.config.path.parent / written).is_file():
            fix = 'record it: "qwen3-router parity record --from ID", then commit it'
            yield Finding(path, "no such file", fix)


def _references(subject: Subject) -> Iterator[tuple[Path, str]]:
    section = subject.section
    if section.parity and section.parity.reference:
        yield ("embedding_router", "parity", "reference"), section.parity.reference
    for name, entry in (section.groups or {}).items():
        if entry.parity and entry.parity.reference:
            path = ("embedding_router", "groups", name, "parity", "reference")
            yield path, entry.parity.reference


RULES: tuple[Rule, ...] = (reference_is_there,)
