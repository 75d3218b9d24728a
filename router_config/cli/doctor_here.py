"""What `doctor` looks at on this machine: release, config, prices, state folder, ledger, notes."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING

from router_config.cli.findings import Finding

if TYPE_CHECKING:
    from router_config import Config

__all__ = ["config_of", "here"]

_LEAST_BYTES = 200_000_000


def config_of(path: Path) -> tuple[Config | None, list[Finding]]:
    """Return the config at *path*, None if it has errors, and what is to be said about it."""
    from router_config import check, load

    problems = check(path)
    errors = [one for one in problems if one.severity == "error"]
    if errors:
        return None, [Finding("config", str(path), "fail", str(one)) for one in errors]
    # Prices have lines of their own.
    others = sum("price" not in str(one) for one in problems)
    fix = "qwen3-router validate shows them" if others else ""
    found = f"{others} warning{'s' * (others != 1)}" if others else "no problems"
    state = "warn" if others else "ok"
    return load(path), [Finding("config", str(path), state, found, fix)]  # type: ignore[arg-type]


def here(config: Config, environ: Mapping[str, str]) -> Iterator[Finding]:
    """Yield what this machine shows, without asking a provider."""
    yield _litellm()
    yield from _prices(config, environ)
    yield from _state(config, environ)
    yield asyncio.run(_ledger(config, environ))
    yield from asyncio.run(_notes(config, environ))


def _litellm() -> Finding:
    from plugins._litellm_names import BANNED, TESTED

    try:
        installed = version("litellm")
    except PackageNotFoundError:
        return Finding("litellm", "", "fail", "not installed", "pip install '.[proxy]'")
    if installed in BANNED:
        return Finding("litellm", installed, "fail", "a compromised release", f"use {TESTED}")
    if installed != TESTED:
        return Finding("litellm", installed, "warn", f"untested; {TESTED} was tested")
    return Finding("litellm", installed, "ok", "the release that was tested")


def _prices(config: Config, environ: Mapping[str, str]) -> Iterator[Finding]:
    from router_config import resolve

    today = datetime.now(UTC).date()
    known = {}
    for group in config.groups.values():
        for one in group.deployments:
            if one.provider is not None and resolve(one, environ).off is None:
                known[one.provider.name] = one.provider.price
    for name, price in known.items():
        day = "undated" if price.as_of is None else f"of {price.as_of}"
        usd = f"{price.usd_per_million_tokens.normalize():f} USD per million tokens, {day}"
        if price.is_stale(today):
            yield Finding("price", name, "warn", usd, f"look it up: {price.source}")
        else:
            yield Finding("price", name, "ok", usd)


def _state(config: Config, environ: Mapping[str, str]) -> Iterator[Finding]:
    from plugins._ledger import LedgerUnavailable
    from plugins._ledger_mounts import mounts_here, network_type
    from plugins._ledger_open import sqlite_path
    from plugins._state import VARIABLE, state_folder

    try:
        path = sqlite_path(config.ledger, environ)
    except LedgerUnavailable:  # said where the ledger is looked at
        path = None
    folder = state_folder(environ) if path is None else path.parent
    there = next(one for one in (folder, *folder.parents) if one.exists())
    made = "" if there == folder else " (will be made)"
    fix = f"make it writable, or name another in {VARIABLE}"
    if not os.access(there, os.W_OK | os.X_OK):
        yield Finding("state", str(folder), "fail", "not writable", fix)
        return
    kind = network_type(there, mounts_here())
    if kind is not None:
        yield Finding("state", str(folder), "fail", f"on a network file system ({kind})", fix)
        return
    free = shutil.disk_usage(there).free
    if free < _LEAST_BYTES:
        yield Finding("state", str(folder), "warn", f"{free // 1_000_000} MB free", "make room")
        return
    yield Finding("state", str(folder), "ok", f"writable{made}, {free // 10**9} GB free")


async def _ledger(config: Config, environ: Mapping[str, str]) -> Finding:
    from plugins._ledger import LedgerUnavailable, LedgerUnfit
    from plugins._ledger_open import open_ledger, sqlite_path

    try:
        path = sqlite_path(config.ledger, environ)
        whom = "Redis" if path is None else str(path)
        if path is not None and not path.exists():
            return Finding("ledger", whom, "ok", "not used yet")
        ledger = open_ledger(config.ledger, environ, apart=False)
    except LedgerUnavailable as error:
        return Finding("ledger", "", "fail", error.reason)
    try:
        await ledger.start()
        findings = await ledger.check()
    except LedgerUnfit as error:
        return Finding("ledger", whom, "fail", error.reason)
    except LedgerUnavailable as error:
        return Finding("ledger", whom, "fail", error.reason, "see that it runs and is reached")
    finally:
        await ledger.close()
    if findings:
        fix = "qwen3-router budget check"
        return Finding("ledger", whom, "fail", f"{len(findings)} findings", fix)
    return Finding("ledger", whom, "ok", "can hold budgets, and its counters are its journal's sum")


async def _notes(config: Config, environ: Mapping[str, str]) -> list[Finding]:
    import time

    from plugins import _fleet
    from plugins._ledger import LedgerUnavailable
    from plugins._ledger_open import sqlite_path
    from plugins._shared import SharedAwayError
    from plugins._shared_open import beside, open_shared

    try:
        path = sqlite_path(config.ledger, environ)
        whom = "Redis" if path is None else str(beside(path))
        if path is not None and not beside(path).exists():
            return [Finding("notes", whom, "ok", "not used yet")]
        shared = open_shared(config.ledger, environ)
    except LedgerUnavailable:  # said where the ledger is looked at
        return []
    try:
        store_now = await shared.now()
        off_s = store_now - time.time()
        _, found = await shared.since(0)
    except SharedAwayError as error:
        return [Finding("notes", whom, "warn", str(error), "each process goes on alone")]
    finally:
        await shared.close()
    running = len(_fleet.processes(found, store_now))
    findings = [Finding("notes", whom, "ok", f"{running} processes are running")]
    if path is None:
        state = "ok" if abs(off_s) < 5 else "warn"
        detail = f"{off_s:+.1f} s from this machine's"
        findings.append(Finding("clock", "Redis", state, detail))  # type: ignore[arg-type]
    return findings
