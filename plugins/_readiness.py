"""Whether the router may start: who is on, who is off and why, and what is missing for all.

Runs once per process, while LiteLLM loads our callbacks; what it raises ends the start.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence

from plugins import _tokens
from plugins._budgets import declared
from plugins._ledger import Budget, LedgerUnavailable, LedgerUnfit
from plugins._ledger_open import open_ledger, run_apart
from plugins._pool import Candidate
from router_config import Config, Group

__all__ = [
    "StartError",
    "announce",
    "announce_wiring",
    "budget_rows",
    "check_ledger",
    "load_vocabularies",
    "why_off",
]

log = logging.getLogger("qwen3_router")
_BUDGET = "plugins.budget.handler"

Pool = Mapping[str, tuple[Candidate, ...]]


class StartError(RuntimeError):
    """The router must not run as configured; the text says what to do."""


def why_off(candidates: Sequence[Candidate]) -> str:
    """Return what keeps *candidates* off, each reason once."""
    return "; ".join(dict.fromkeys(one.off for one in candidates if one.off is not None))


def announce(config: Config, pool: Pool) -> None:
    """Log what is on, and what is off and why.

    Raises:
        StartError: nobody can serve anything, or a required group has nobody.
    """
    for name, candidates in pool.items():
        on = [one.id for one in candidates if one.off is None]
        off = why_off(candidates)
        if on:
            log.info("group %s: %s", name, ", ".join(on))
            if off:
                log.info("group %s, off: %s", name, _folded(candidates))
        elif config.groups[name].required:
            raise StartError(f"group {name} is required and has no usable deployment: {off}")
        elif (other := _stand_in(config.groups[name], pool)) is not None:
            log.warning(
                "group %s has no usable deployment here; its fallback %s answers: %s",
                name,
                other,
                _folded(candidates),
            )
        else:
            log.warning(
                "group %s has no usable deployment and answers 503: %s", name, _folded(candidates)
            )
    every = [one for group in pool.values() for one in group]
    if not any(one.off is None for one in every):
        raise StartError(
            f"no deployment can be used: {why_off(every)}. Set one of these variables and start "
            "again, or run `make demo` (or `qwen3-router demo`) to try it without any key."
        )


def _stand_in(group: Group, pool: Pool) -> str | None:
    """Return the first fallback of *group* that can serve, or None."""
    return next(
        (name for name in group.fallbacks if any(one.off is None for one in pool.get(name, ()))),
        None,
    )


def announce_wiring(config: Config) -> None:
    """Warn of a callback that the file does not name and that is added."""
    callbacks = (config.raw.get("litellm_settings") or {}).get("callbacks") or []
    if isinstance(callbacks, list) and _BUDGET not in callbacks:
        log.warning(
            "callbacks without %s, which is added; paste: callbacks: [%s]",
            _BUDGET,
            ", ".join([_BUDGET, *map(str, callbacks)]),
        )


def _folded(candidates: Sequence[Candidate]) -> str:
    """Return what keeps *candidates* off, each reason once and after it who is off for it."""
    reasons: dict[str, list[str]] = {}
    for one in candidates:
        if one.off is not None:
            reasons.setdefault(one.off, []).append(one.id)
    return "; ".join(f"{reason} ({', '.join(ids)})" for reason, ids in reasons.items())


def load_vocabularies(config: Config) -> None:
    """Load what counts and decodes tokens now, not in the first request.

    Raises:
        StartError: a vocabulary that the config needs is not installed.
    """
    named = {group.token_inputs for group in config.groups.values()}
    try:
        _tokens.load("qwen3")
        if "cl100k_base" in named:
            _tokens.load("cl100k_base")
    except _tokens.VocabularyMissingError as error:
        raise StartError(str(error)) from None


def budget_rows(config: Config, pool: Pool) -> list[Budget]:
    """Return every budget that *config* names, those of the candidates in *pool* included."""
    rows = {one.name: one for one in declared(config)}
    for candidates in pool.values():
        for candidate in candidates:
            rows.update({one.name: one for one in candidate.budgets})
    return list(rows.values())


def check_ledger(config: Config, pool: Pool) -> None:
    """Check that the store of the budgets can hold, and tell it the limits of the file.

    A store that is only away now does not stop the start: what costs money waits for it.

    Raises:
        StartError: the store cannot hold a budget as it is set up.
    """
    rows = budget_rows(config, pool)
    if not rows:
        return

    async def check() -> None:
        ledger = open_ledger(config.ledger, os.environ)
        try:
            await ledger.start()
            await ledger.define(rows)
        finally:
            await ledger.close()

    try:
        run_apart(check())
    except LedgerUnfit as error:
        raise StartError(f"the ledger cannot hold a budget: {error.reason}") from None
    except LedgerUnavailable as error:
        log.warning("the ledger is not available now: %s", error.reason)
