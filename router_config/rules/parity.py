"""Rules about parity: what proves a group is there, is one space, can be held against everybody."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path as File
from typing import Any

from ..problems import Finding, Path
from ..references import lineage_of
from ..shape import OWN_PREFIX
from .subject import Rule, Subject, path_of

__all__ = ["RULES"]

_MOST_BYTES = 4_000_000


def reference_is_there(subject: Subject) -> Iterator[Finding]:
    for path, written in _references(subject):
        if not (subject.config.path.parent / written).is_file():
            fix = 'record it: "qwen3-router parity record --from ID", then commit it'
            yield Finding(path, "no such file", fix)


def references_of_one_number(subject: Subject) -> Iterator[Finding]:
    """Two recordings with one revision and different vectors would give two spaces one name."""
    first: dict[object, tuple[str, str]] = {}
    for path, written in _references(subject):
        recorded = _read(subject.config.path.parent / written)
        revision = recorded.get("revision")
        if not isinstance(revision, int):
            continue  # the start says what is wrong with it
        lineage = lineage_of(recorded)
        name, other = first.setdefault(revision, (written, lineage))
        if other != lineage:
            what = f"{written} and {name} both have revision {revision}, with different vectors"
            fix = f'name one file for both, or give {written} a "revision" of its own'
            yield Finding(path, what, fix)


def required_can_be_proven(subject: Subject) -> Iterator[Finding]:
    for name, group in subject.config.groups.items():
        if group.parity.mode != "required":
            continue
        for one in group.deployments:
            if one.provider is None and not one.model.startswith(OWN_PREFIX):
                what = f'"{name}" requires proof, and what LiteLLM serves by itself has none'
                fix = "no request will use it: write qwen3/openai with its api_base instead"
                yield Finding(path_of(one, "litellm_params", "model"), what, fix, "warning")


def _read(file: File) -> dict[str, Any]:
    try:
        with file.open("rb") as opened:
            recorded = json.loads(opened.read(_MOST_BYTES))
    except (OSError, ValueError, RecursionError):
        return {}
    return recorded if isinstance(recorded, dict) else {}


def _references(subject: Subject) -> Iterator[tuple[Path, str]]:
    section = subject.section
    if section.parity and section.parity.reference:
        yield ("embedding_router", "parity", "reference"), section.parity.reference
    for name, entry in (section.groups or {}).items():
        if entry.parity and entry.parity.reference:
            path = ("embedding_router", "groups", name, "parity", "reference")
            yield path, entry.parity.reference


RULES: tuple[Rule, ...] = (
    reference_is_there,
    references_of_one_number,
    required_can_be_proven,
)
