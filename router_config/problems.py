"""A problem: one finding in a configuration file, with its place and the way to repair it.

A problem names paths, types and names, never a value that could be a secret.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

__all__ = [
    "ConfigError",
    "Finding",
    "Path",
    "Problem",
    "Severity",
    "contains_a_secret",
    "did_you_mean",
    "in_file_order",
    "looks_like_a_secret",
    "masked",
    "render_path",
]

Severity = Literal["error", "warning"]
Path = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Problem:
    """One finding with its place; *line* and *column* count from 1.

    An "error" keeps the file from being used, a "warning" does not.
    """

    file: str
    line: int
    column: int
    path: str
    what: str
    fix: str
    severity: Severity = "error"

    @property
    def message(self) -> str:
        """The text without the place: `path: what; how to fix`."""
        text = f"{self.what}; {self.fix}" if self.fix else self.what
        return f"{self.path}: {text}" if self.path else text

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}: {self.message}"


@dataclass(frozen=True, slots=True)
class Finding:
    """What a check found at *path*; the document adds file, line and column."""

    path: Path
    what: str
    fix: str
    severity: Severity = "error"


class ConfigError(Exception):
    """A configuration that cannot be used; *problems* holds all of them, warnings included."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__(problems)
        self.problems = tuple(problems)

    def __str__(self) -> str:
        # Not the warnings: whoever reads this wants to know what has to be changed.
        return "\n".join(str(one) for one in self.problems if one.severity == "error")


def in_file_order(problems: Iterable[Problem]) -> list[Problem]:
    """Return *problems* without repetitions, first line first."""
    return sorted(dict.fromkeys(problems), key=lambda problem: (problem.line, problem.column))


def did_you_mean(word: str, candidates: Iterable[str]) -> str | None:
    """Return the candidate that *word* most probably was meant to be, or None."""
    known = sorted(set(candidates))
    squeezed = {re.sub(r"[-_. ]", "", name).lower(): name for name in known}
    same_letters = squeezed.get(re.sub(r"[-_. ]", "", word).lower())
    if same_letters is not None:
        return same_letters
    anagrams = [name for name in known if sorted(name) == sorted(word.lower())]
    if len(anagrams) == 1:  # two letters changed places, which weighs much in a short word
        return anagrams[0]
    close = difflib.get_close_matches(word.lower(), known, n=1, cutoff=0.8)
    return close[0] if close else None


def render_path(path: Path) -> str:
    """Return *path* as text, such as `model_list[3].model_info.budget`."""
    text = ""
    for step in path:
        if isinstance(step, int):
            text += f"[{step}]"
            continue
        step = masked(step)
        if re.fullmatch(r"[^\s.\[\]\"]+", step):
            text += f"{'.' if text else ''}{step}"
        else:
            text += '["' + _printable(step.replace('"', '\\"')) + '"]'
    return text


def _printable(text: str) -> str:
    """Return *text* with escapes for what would move the cursor of a terminal."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


# How keys begin at the services that mark them; a digit keeps names like sk-learn-service out.
_KEY = (
    r"(?:(?:sk|pk|rk|fw|nvapi|hf|gh[opsu]|xox[abp])[-_](?=[A-Za-z_-]*[0-9])[A-Za-z0-9_-]{16,}"
    r"|(?:AKIA|SCW)(?=[A-Z]*[0-9])[A-Z0-9]{12,})"
)
# A long run of letters and digits, or a UUID: no name that a person would give.
_RUN = (
    r"(?:(?=[A-Za-z]*[0-9])(?=[0-9]*[A-Za-z])[A-Za-z0-9]{24,}"
    r"|[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12})"
)
_URL = r"[A-Za-z][A-Za-z0-9+.-]{0,20}://[^/\s@]+@|[?&](api[_-]?key|key|token|access_token|password)=[^&\s]"


def looks_like_a_secret(text: str) -> bool:
    """Return True for text in the shape of an API key."""
    return re.fullmatch(f"{_KEY}|{_RUN}", text) is not None


def contains_a_secret(text: str) -> bool:
    """Return True for text with a known kind of key in it, or with credentials in a URL."""
    return re.search(rf"(?<![A-Za-z0-9_-]){_KEY}|{_URL}", text) is not None


def masked(text: str) -> str:
    """Return *text* with all that is in the shape of an API key replaced by `***`."""
    return re.sub(rf"(?<![A-Za-z0-9_-])(?:{_KEY}|{_RUN})(?![A-Za-z0-9])", "***", text)
