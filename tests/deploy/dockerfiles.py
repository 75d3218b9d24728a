"""A Dockerfile as its instructions, and what of a checkout a build would see."""

from __future__ import annotations

import re
import shutil
from fnmatch import fnmatchcase
from pathlib import Path

__all__ = ["Instruction", "copy_context", "instructions"]

Instruction = tuple[str, str]


def instructions(path: Path) -> list[Instruction]:
    """Return each instruction with its arguments on one line."""
    lines = [line for line in path.read_text().splitlines() if not line.lstrip().startswith("#")]
    joined = re.sub(r"\\\n\s*", "", "\n".join(lines))
    pairs = [line.partition(" ") for line in joined.splitlines() if line.strip()]
    return [(name.upper(), rest.strip()) for name, _, rest in pairs]


def copy_context(root: Path, target: Path) -> None:
    """Copy what `.dockerignore` lets through: all is shut out, then some let in again."""
    rules = [
        line.strip()
        for line in (root / ".dockerignore").read_text().splitlines()
        if line.strip() and not line.startswith("#")
    ]
    assert rules[0] == "*"
    admitted = [rule[1:] for rule in rules if rule.startswith("!")]
    shut = [rule.removeprefix("**/") for rule in rules[1:] if not rule.startswith("!")]

    def ignore(folder: str, names: list[str]) -> set[str]:
        return {name for name in names if any(fnmatchcase(name, one) for one in shut)}

    for name in admitted:
        source = root / name
        if source.is_dir():
            shutil.copytree(source, target / name, ignore=ignore)
        else:
            target.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, target / name)
