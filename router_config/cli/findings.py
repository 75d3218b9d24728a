"""What `doctor` finds: one line per thing it looked at, as text or JSON."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

__all__ = ["Finding", "State", "failed", "rows", "text"]

State = Literal["ok", "warn", "fail", "off", "skip"]

_MARKS: dict[State, str] = {"ok": "ok", "warn": "WARN", "fail": "FAIL", "off": "off", "skip": "-"}


@dataclass(frozen=True)
class Finding:
    """*what* was looked at, of *whom*; *fix* says what to do where something is to be done."""

    what: str
    whom: str
    state: State
    detail: str
    fix: str = ""


def failed(findings: Sequence[Finding]) -> bool:
    """Tell whether something has to be mended."""
    return any(one.state == "fail" for one in findings)


def rows(findings: Sequence[Finding]) -> list[dict[str, Any]]:
    """Return them for a program."""
    return [asdict(one) for one in findings]


def text(findings: Sequence[Finding]) -> str:
    """Return them for people, in columns, with what to do under them."""
    from router_config.cli.money import table

    lines = [("", "what", "of", "found")]
    for one in findings:
        fix = f"; {one.fix}" if one.fix else ""
        lines.append((_MARKS[one.state], one.what, one.whom, one.detail + fix))
    count = {state: sum(one.state == state for one in findings) for state in _MARKS}
    parts = [f"{count['ok']} ok", f"{count['warn']} to look at", f"{count['fail']} to mend"]
    return f"{table(lines)}\n\n{', '.join(parts)}"
