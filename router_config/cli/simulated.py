"""A simulation's figures as tables, and the difference of two."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

__all__ = ["difference", "table"]


def table(title: str, data: Mapping[str, Any], factor: int) -> str:
    """Return the figures of one configuration as text."""
    total = data["requests"]
    head = (
        f"{total:,} requests, {data['answered']:,} answered ({_part(data['answered'], total)}), "
        f"${data['usd']:.6f}; p50 {_ms(data['p50_ms'])}, p95 {_ms(data['p95_ms'])}"
    )
    lines = [title, head]
    if factor > 1:
        lines.append(
            f"thinned: each simulated request stands for {factor}; what health does after a few "
            "calls takes longer here than it would"
        )
    lines += [f"  not answered: {code} {count:,}" for code, count in data["errors"].items()]
    rows = [("deployment", "share", "calls", "failed", "out", "tokens", "USD", "p50", "p95")]
    for id_, one in data["deployments"].items():
        failed = " ".join(f"{kind} {n:,}" for kind, n in one["failed"].items())
        rows.append(
            (
                id_,
                f"{one['share']:.1%}",
                f"{one['calls']:,}",
                failed or "0",
                str(one["ejections"]),
                f"{one['tokens']:,}",
                f"{one['usd']:.6f}",
                _ms(one["p50_ms"]),
                _ms(one["p95_ms"]),
            )
        )
    return "\n".join([*lines, "", _columns(rows), ""])


def difference(one: Mapping[str, Any], two: Mapping[str, Any]) -> str:
    """Return what the second differs in from the first, as text."""
    usd = two["usd"] - one["usd"]
    head = (
        f"USD {one['usd']:.6f} -> {two['usd']:.6f} ({usd:+.6f}), "
        f"not answered {one['requests'] - one['answered']:,} -> "
        f"{two['requests'] - two['answered']:,}, "
        f"p95 {_ms(one['p95_ms'])} -> {_ms(two['p95_ms'])}"
    )
    lines = ["difference", head, ""]
    rows = [("deployment", "share", "calls", "USD")]
    none = {"share": 0.0, "calls": 0, "usd": 0.0}
    for id_ in dict.fromkeys([*one["deployments"], *two["deployments"]]):
        old = one["deployments"].get(id_, none)
        new = two["deployments"].get(id_, none)
        rows.append(
            (
                id_,
                f"{old['share']:.1%} -> {new['share']:.1%}",
                f"{old['calls']:,} -> {new['calls']:,}",
                f"{new['usd'] - old['usd']:+.6f}",
            )
        )
    return "\n".join([*lines, _columns(rows)])


def _columns(rows: Sequence[Sequence[str]]) -> str:
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    )


def _part(count: int, total: int) -> str:
    return f"{count / total:.2%}" if total else "none"


def _ms(value: float | None) -> str:
    return "-" if value is None else f"{value:,.0f} ms"
