"""What `doctor` asks providers for: keys, free signals, balances, clocks; vectors if agreed to."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import Mapping, Sequence
from decimal import Decimal, InvalidOperation
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any

from router_config.cli.findings import Finding

if TYPE_CHECKING:
    from plugins._pool import Candidate
    from plugins._wire import Wire
    from router_config import Config, Provider

__all__ = ["Endpoints", "endpoints", "free", "vectors"]

_TIMEOUT_S = 10.0
_AT_ONCE = 8
_CLOCK_OFF_S = 5.0
_TEXT = "a"
_FIXES = {
    "auth": "look at the key",
    "payment": "pay",
    "model": "look at wire_model",
    "dialect": "look at the log of the proxy: a field of ours is refused",
}

Endpoints = dict[str, tuple["Candidate", list[str]]]


def endpoints(config: Config, environ: Mapping[str, str]) -> tuple[Endpoints, list[Finding]]:
    """Return each endpoint that is on, with its deployments, and what is to be said of keys."""
    from plugins._pool import build

    found: Endpoints = {}
    off: dict[str, list[str]] = {}
    # A command's file may be an old copy or a draft: its limits hold only where there are none.
    for group in build(config.model_copy(update={"since": 0}), environ).values():
        for one in group:
            if one.off is not None:
                off.setdefault(one.off, []).append(one.id)
                continue
            found.setdefault(one.endpoint.key, (one, []))[1].append(one.id)
    findings = [Finding("key", ", ".join(ids), "off", why) for why, ids in off.items()]
    findings += [_key(candidate, ids) for candidate, ids in found.values()]
    if not found:
        fix = "set one of these variables"
        findings.append(Finding("key", "", "fail", "no deployment is on", fix))
    return found, findings


def _key(candidate: Candidate, ids: Sequence[str]) -> Finding:
    from plugins._dialects import headers_for
    from plugins._errors import ProviderFault

    whom, target = ", ".join(ids), candidate.endpoint.target
    if target is None:
        return Finding("key", whom, "skip", "LiteLLM calls it by itself")
    if target.api_key is None:
        return Finding("key", whom, "ok", "needs none")
    try:
        headers_for(target)
    except ProviderFault as fault:
        return Finding("key", whom, "fail", fault.detail, "set the variable anew")
    return Finding("key", whom, "ok", "set")


async def free(found: Endpoints, catalogue: Mapping[str, Provider]) -> list[Finding]:
    """Return what the free requests say."""
    from plugins._wire import Wire

    wire = Wire()
    turns = asyncio.Semaphore(_AT_ONCE)
    clocks: list[float] = []

    async def one(candidate: Candidate, ids: Sequence[str]) -> list[Finding]:
        async with turns:
            provider = catalogue.get(candidate.endpoint.provider)
            whom = ", ".join(ids)
            findings = [await _signal(wire, candidate, whom, clocks)]
            if provider is not None and provider.balance is not None:
                findings.append(await _balance(wire, candidate, whom, provider))
            return findings

    asked = [it for it in found.values() if it[0].endpoint.target is not None]
    try:
        parts = await asyncio.gather(*(one(*it) for it in asked))
    finally:
        await wire.aclose()
    return [finding for part in parts for finding in part] + _clock(clocks)


async def _signal(wire: Wire, candidate: Candidate, whom: str, clocks: list[float]) -> Finding:
    from plugins._errors import ProviderFault
    from plugins._signals import hear

    if candidate.endpoint.signal is None:
        return Finding("endpoint", whom, "skip", "the provider has no free request")
    began = time.monotonic()
    try:
        good, headers = await hear(candidate.endpoint, wire, _TIMEOUT_S)
    except ProviderFault as fault:
        return Finding("endpoint", whom, "fail", _words(fault), _FIXES.get(fault.fault, ""))
    took_ms = (time.monotonic() - began) * 1000
    if "date" in headers:
        with contextlib.suppress(ValueError):
            clocks.append(parsedate_to_datetime(headers["date"]).timestamp() - time.time())
    if not good:
        return Finding("endpoint", whom, "warn", "answers, but not to the free request")
    return Finding("endpoint", whom, "ok", f"{took_ms:.0f} ms. {candidate.endpoint.signal.proves}")


def _words(fault: Any) -> str:
    status = f"HTTP {fault.status}: " if fault.status else ""
    return f"{status}{fault.fault}: {fault.detail}"


async def _balance(wire: Wire, candidate: Candidate, whom: str, provider: Provider) -> Finding:
    """Read the balance; it is told to people and decides nothing."""
    from plugins._errors import ProviderFault
    from plugins._signals import get, origin

    balance, target = provider.balance, candidate.endpoint.target
    if balance is None or target is None:
        return Finding("balance", whom, "skip", "not told")
    # At the server that gets the key in any case: with another api_base, its own.
    url = origin(target.api_base) + balance.url.removeprefix(origin(balance.url))
    try:
        status, _, body = await wire.send(
            candidate.endpoint, get(target, url), timeout_s=_TIMEOUT_S, max_bytes=100_000
        )
        content = json.loads(body) if status == 200 else None
    except (ProviderFault, ValueError):
        status, content = 0, None
    if not isinstance(content, dict):
        return Finding(
            "balance", whom, "skip", f"not told (HTTP {status})" if status else "not told"
        )
    if content.get("suspended"):
        return Finding("balance", whom, "fail", "the account is suspended", "see its console")
    number = _number(content, balance.field)
    if number is None:
        return Finding("balance", whom, "skip", "told in a form that is not known")
    if balance.negative_means_credit:
        number = 0 - number
    unit = "" if balance.unit == "unknown" else f" {balance.unit}"
    detail = f"{number.normalize():f}{unit}"
    if number <= 0:
        return Finding("balance", whom, "warn", detail, "pay, or see its console")
    return Finding("balance", whom, "ok", f"{detail}, as the provider says")


def _number(content: Any, field: str | None) -> Decimal | None:
    for name in (field or "").split("."):
        content = content.get(name) if isinstance(content, dict) else None
    try:
        number = None if content is None or isinstance(content, bool) else Decimal(str(content))
    except InvalidOperation:
        return None
    return number if number is not None and number.is_finite() else None


def _clock(offsets: Sequence[float]) -> list[Finding]:
    if not offsets:
        return [Finding("clock", "this machine", "skip", "no provider told the time")]
    off_s = sorted(offsets)[len(offsets) // 2]
    detail = f"{-off_s:+.0f} s from the providers'"
    if abs(off_s) <= _CLOCK_OFF_S:
        return [Finding("clock", "this machine", "ok", detail)]
    fix = "set it: budgets begin anew by it"
    return [Finding("clock", "this machine", "warn", detail, fix)]


async def vectors(found: Endpoints, config: Config, environ: Mapping[str, str]) -> list[Finding]:
    """Ask each endpoint for the vector of one token, held in the ledger like any call."""
    from plugins import _tokens
    from plugins._ledger import LedgerUnavailable
    from plugins._ledger_open import open_ledger
    from plugins._money import Money
    from plugins._wire import Wire

    try:
        ledger = open_ledger(config.ledger, environ, apart=False)
    except LedgerUnavailable as error:
        return [Finding("vector", "", "skip", error.reason)]
    (count,) = _tokens.count([_TEXT])
    money = Money(ledger, time.monotonic)
    wire = Wire()
    turns = asyncio.Semaphore(_AT_ONCE)

    async def one(candidate: Candidate, ids: Sequence[str]) -> Finding:
        async with turns:
            return await _vector(wire, money, candidate, ", ".join(ids), count)

    asked = [it for it in found.values() if it[0].endpoint.target is not None]
    try:
        return list(await asyncio.gather(*(one(*it) for it in asked)))
    finally:
        await wire.aclose()
        await ledger.close()


async def _vector(wire: Any, money: Any, candidate: Candidate, whom: str, count: int) -> Finding:
    from plugins._attempt import Attempt, attempt
    from plugins._errors import ProviderFault, TurnedDown
    from router_config.cli.money import usd

    what = Attempt("doctor", candidate, None, (), 1, count)
    began = time.monotonic()
    try:
        served = await attempt(
            what,
            [_TEXT],
            [count],
            timeout_s=candidate.attempt_timeout_s(count),
            transport=wire,
            watchers=(money,),
            clock=time.monotonic,
            wall=time.time,
        )
    except ProviderFault as fault:
        return Finding("vector", whom, "fail", _words(fault), _FIXES.get(fault.fault, ""))
    except TurnedDown as no:
        return Finding("vector", whom, "skip", no.detail)
    took_ms = (time.monotonic() - began) * 1000
    cost = usd(served.cost_nano_usd)
    return Finding("vector", whom, "ok", f"4096 good numbers in {took_ms:.0f} ms for {cost}")
