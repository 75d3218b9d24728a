"""Rules about budgets: each has one amount, and each is somebody's."""

from __future__ import annotations

from collections.abc import Iterator

from ..problems import Finding, Path, did_you_mean
from .subject import Rule, Subject, mapping, path_of

__all__ = ["RULES"]

_CONSUMERS = ("key", "team", "user", "group")


def _path(name: str) -> Path:
    return ("embedding_router", "budgets", name)


def one_amount(subject: Subject) -> Iterator[Finding]:
    paths = [_path(name) for name in subject.section.budgets or {}]
    if subject.section.health and subject.section.health.probe_budget:
        paths.append(("embedding_router", "health", "probe_budget"))
    for path in paths:
        written = mapping(subject.written(*path))
        amounts = [key for key in ("usd", "tokens") if written.get(key) is not None]
        if not amounts and not set(written) <= {"usd", "tokens", "period"}:
            continue  # an unknown key, and most probably a misspelt amount
        if not amounts:
            fix = "write usd: 5.00 or tokens: 1000000"
            yield Finding(path, "a budget without an amount", fix)
        elif "period" not in written:
            fix = "say when it starts again: period: lifetime, month, day or hour"
            yield Finding(path, "no period, so it never starts again", fix, "warning")
        if len(amounts) == 2:
            what = "a budget in dollars and in tokens"
            yield Finding((*path, "tokens"), what, "keep one of them, or make two budgets")


def named_budget_exists(subject: Subject) -> Iterator[Finding]:
    known = subject.section.budgets or {}
    for one in subject.deployments:
        if one.budget is None:
            continue
        path = path_of(one, "model_info", "budget")
        if _consumer(one.budget):
            what = "a budget of a consumer, which cannot pay a provider"
            yield Finding(path, what, "name an account's budget")
        elif one.budget not in known:
            guess = did_you_mean(one.budget, known)
            fix = f'did you mean "{guess}"?' if guess else "add it to embedding_router.budgets"
            yield Finding(path, "no budget of this name", fix)


def every_budget_is_used(subject: Subject) -> Iterator[Finding]:
    accounts = {one.budget for one in subject.deployments}
    keys = subject.section.keys
    for name in subject.section.budgets or {}:
        kind, who = _consumer(name) or ("", name)
        used = who in accounts
        if kind == "group":
            used = who in subject.config.groups or who == "*"
        elif kind in ("key", "team") and keys and not subject.general.database_url:
            teams = {entry.team for entry in keys.values()}
            used = who in (keys if kind == "key" else teams) or who == "*"
        elif kind:
            used = True  # users, and LiteLLM's own keys and teams, stand in its database
        if not who:
            fix = f"write {kind}:<name>"
            yield Finding(_path(name), f"a budget for no {kind}", fix)
        elif not used:
            what = f'no {kind} "{who}"' if kind else "no deployment names this budget"
            fix = "correct the name, or remove the budget"
            yield Finding(_path(name), what, fix, "warning")


def _consumer(name: str) -> tuple[str, str] | None:
    """Return kind and name of a consumer's budget, or None for an account's."""
    kind, colon, who = name.partition(":")
    return (kind, who) if colon and kind in _CONSUMERS else None


RULES: tuple[Rule, ...] = (one_amount, named_budget_exists, every_budget_is_used)
