"""Status pages with something to show on them: the shipped config and an invented half hour."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from typing import Any

from plugins._budgets import declared
from plugins._history import History, merge_histories
from plugins._ledger import Amount, Budget, Room
from plugins._ledger_forecast import Forecast, forecast
from plugins._pool import build
from plugins._record import AttemptRecord, RequestRecord
from plugins._standing import Standing
from plugins._status_view import PageView, ParityView, view
from router_config import SHIPPED_CONFIG, load

__all__ = ["KEYS", "NOW", "attempt", "lively", "request", "room"]

NOW = 1_795_530_000.0  # 2026-11-24 15:00 UTC
KEYS = {
    "SCW_SECRET_KEY": "k",
    "DEEPINFRA_API_KEY": "k",
    "SILICONFLOW_API_KEY": "k",
    "NEBIUS_API_KEY": "k",
    "VLLM_API_BASE": "http://gpu:8000/v1",
}


def request(key: str | None = "k", **changed: Any) -> RequestRecord:
    """Return a record of a good request, but for *changed*."""
    fields: dict[str, Any] = {
        "at": 0.0, "request": "req", "key": key, "team": None, "user": None, "group": "g",
        "query": False, "encoding": "float", "dimensions": 4096, "inputs": 2, "tokens": 10,
        "longest": 6, "billed_tokens": 10, "cost_nano_usd": 7, "served_by": ("a",), "tried": (),
        "reasons": (), "attempts": 1, "outcome": "ok", "status": 200, "code": None, "ms": 12.0,
        "upstream_ms": 11.0, "own_ms": 1.0, "cache_hits": 0,
    }  # fmt: skip
    return RequestRecord(**{**fields, **changed})


def attempt(deployment: str = "a", outcome: str = "ok", **changed: Any) -> AttemptRecord:
    """Return a record of a good attempt, but for *changed*."""
    fields: dict[str, Any] = {
        "at": 0.0, "request": "req", "group": "g", "deployment": deployment, "provider": "p",
        "endpoint": "e", "inputs": 2, "tokens": 10, "counted": 10, "cost_nano_usd": 7,
        "outcome": outcome,
        "status": 200, "detail": None, "sent": True, "ms": 12.0, "upstream_ms": 11.0,
        "probe": False,
    }  # fmt: skip
    return AttemptRecord(**{**fields, **changed})


def room(budget: Budget, spent: Amount, held: Amount = Amount(), end: int | None = None) -> Room:  # noqa: B008
    """Return a budget's state, two days into its period."""
    return Room(budget, int(NOW) - 2 * 86_400, end, NOW, spent, held)


def lively(**changed: Any) -> PageView:
    """Return a page on which DeepInfra has just been ejected."""
    config = load(SHIPPED_CONFIG)
    pool = build(config, KEYS)
    key = {one.id: one.endpoint.key for group in pool.values() for one in group}
    history = History()
    for minute in range(30):
        at = NOW - 60 * (29 - minute)
        for n in range(40 + (minute * 7) % 23):
            who = ("scaleway-free", "deepinfra", "siliconflow")[(n * minute) % 7 % 3]
            bad = who == "deepinfra" and minute in (13, 26)
            who = "nebius" if who == "deepinfra" and minute > 26 else who
            wire = 40.0 + (n * 37) % 160 + (90 if who == "siliconflow" else 0)
            end = "server" if bad and n % 2 else "ok"
            history.attempt(attempt(who, end, at=at, upstream_ms=wire))
        if minute in (13, 26):
            history.request(
                request(
                    at=at, group="qwen3-embedding-8b", tried=("deepinfra",), reasons=("server",),
                    served_by=("siliconflow",),
                )
            )  # fmt: skip
    history.request(
        request(
            at=NOW - 41, group="qwen3-embedding-8b-eu", tried=("eu-scaleway-free",),
            reasons=("rate",), served_by=(), status=503,
        )
    )  # fmt: skip
    rooms, coming = _rooms(declared(config))
    fields: dict[str, Any] = {
        "parity": (
            ParityView(("scaleway-free", "scaleway-paid"), True, 0.99981, "", NOW - 3600),
            ParityView(("deepinfra",), True, 0.99964, "", NOW - 3600),
            ParityView(("novita",), False, 0.41235, "wrong space", NOW - 90_000),
        ),
        "workers": 2,
        "loaded": NOW - 5000,
        "versions": (("qwen3-embedding-router", "0.1.0"), ("litellm", "1.108.7")),
    }
    standings = {
        key["deepinfra"]: Standing(
            key["deepinfra"], "ejected", "server", NOW - 12, NOW + 18, 2, "host:1"
        ),
        key["nebius"]: Standing(
            key["nebius"], "returning", "timeout", NOW - 5, NOW + 25, 1, "host:1"
        ),
    }
    made = view(
        config, pool, standings, merge_histories([history.to_json()], NOW), rooms, coming,
        now=NOW, today=date(2026, 11, 24), **fields,
    )  # fmt: skip
    return replace(made, **changed)


def _rooms(budgets: list[Budget]) -> tuple[list[Room], dict[str, Forecast]]:
    rooms, coming = [], {}
    for n, one in enumerate(budgets):
        part = (0.62, 0.13, 0.91, 0.0, 0.34, 1.0, 0.05, 0.4, 0.0)[n % 9]
        spent = Amount(int((one.nano_usd or 0) * part), int((one.tokens or 0) * part), 10)
        held = Amount((one.nano_usd or 0) // 40, (one.tokens or 0) // 40) if n < 2 else Amount()
        end = None if one.period == "lifetime" else int(NOW) + 6 * 86_400
        rooms.append(room(one, spent, held, end))
        unit = "tokens" if one.tokens else "nano_usd"
        found = forecast(rooms[-1], unit, getattr(spent, unit) / 172_800)  # type: ignore[arg-type]
        if found is not None:
            coming[one.name] = found
    return rooms, coming
