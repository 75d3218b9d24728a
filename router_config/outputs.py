"""Problems as text: for people, for programs, and for GitHub's annotations."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict

from .problems import Problem

__all__ = ["FORMATS", "as_github", "as_json", "as_text"]


def as_text(problems: Sequence[Problem]) -> str:
    """Return one line per problem, `file:line:col: path: what; how to fix`; warnings say so."""
    return "".join(f"{_line(problem)}\n" for problem in problems)


def as_json(problems: Sequence[Problem]) -> str:
    """Return an object with the counts of errors and warnings, and the list of all problems."""
    counts = {
        f"{severity}s": sum(one.severity == severity for one in problems)
        for severity in ("error", "warning")
    }
    content = {**counts, "problems": [asdict(problem) for problem in problems]}
    return json.dumps(content, indent=2, ensure_ascii=False) + "\n"


def as_github(problems: Sequence[Problem]) -> str:
    """Return workflow commands that annotate the lines of a pull request.

    https://docs.github.com/actions/reference/workflow-commands-for-github-actions (2026-09)
    """
    lines = []
    for one in problems:
        place = f"file={_escaped(one.file)},line={one.line},col={one.column}"
        # GitHub draws only what it gets; the message alone has to name the path.
        lines.append(f"::{one.severity} {place}::{_escaped(one.message, in_property=False)}\n")
    return "".join(lines)


FORMATS: Mapping[str, Callable[[Sequence[Problem]], str]] = {
    "text": as_text,
    "json": as_json,
    "github": as_github,
}


def _line(problem: Problem) -> str:
    if problem.severity == "error":
        return str(problem)
    return f"{problem.file}:{problem.line}:{problem.column}: warning: {problem.message}"


def _escaped(text: str, *, in_property: bool = True) -> str:
    text = text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")
    return text.replace(":", "%3A").replace(",", "%2C") if in_property else text
