"""Small configs with budgets, and what their ledger and the providers say afterwards.

Every deployment has an account of its own at its provider, so that the emulators' journals tell
what each of them really billed.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import yaml

from plugins._ledger import Amount, Ledger, Room
from plugins._ledger_sqlite import SqliteLedger
from router_config.rules.wiring import ADVISED
from router_config.sandbox import Sandbox
from tests.proxy import reference
from tests.proxy.harness import MASTER_KEY, PLAIN

__all__ = [
    "PRICES",
    "Billed",
    "Setup",
    "ask_all",
    "billed",
    "key_of",
    "keys",
    "room",
    "rooms",
    "text_of",
    "wait_for_a_minute_with",
]

# USD per million tokens at the emulators: the catalogue's, but for nebius, where the configs of
# these tests name a price of their own.
PRICES = {"deepinfra": "0.01", "siliconflow": "0.04", "nebius": "0.03"}
NEBIUS_PER_TOKEN = 0.00000003
_BOOKED_S = 2.0
_PLAIN_MODEL = "openai/Qwen/Qwen3-Embedding-8B"


@dataclass
class Setup:
    """A config in the making, for the emulators of *box*."""

    box: Sandbox
    models: list[dict[str, Any]] = field(default_factory=list)
    # Money is looked at alone: who fails here is called again.
    section: dict[str, Any] = field(default_factory=lambda: {"health": {"enabled": False}})
    environ: dict[str, str] = field(default_factory=dict)
    callbacks: tuple[str, ...] = ()
    wired: bool = True  # False: the line of plugins.budget is missing
    auth: str = "plugins.keys.handler"
    fallbacks: list[dict[str, list[str]]] = field(default_factory=list)

    def add(
        self,
        group: str,
        provider: str,
        order: int = 1,
        *,
        id_: str | None = None,
        account: str | None = None,
        plain: bool = False,
        timeout: float = 1.0,
        **info: Any,
    ) -> None:
        """Add a deployment with *account* (its id by default) at *provider*; *plain*: LiteLLM's."""
        id_ = id_ or f"{group}--{provider}"
        account = account or id_
        variable = f"MONEY_{account.upper().replace('-', '_')}_KEY"
        key = self.box.keys.get(provider)
        self.environ[variable] = f"{key}.{account}" if key else "none"
        if provider == "nebius":
            info.setdefault("input_cost_per_token", NEBIUS_PER_TOKEN)
        self.models.append(
            {
                "model_name": group,
                "litellm_params": {
                    "model": _PLAIN_MODEL if plain else f"qwen3/{provider}",
                    "api_base": self.box.bases[provider],
                    "api_key": f"os.environ/{variable}",
                    "order": order,
                    "timeout": timeout,
                },
                "model_info": {"id": id_, "mode": "embedding", **info},
            }
        )
        if plain:
            self.section.setdefault("groups", {}).setdefault(group, {})

    def write(self, path: Path) -> Path:
        """Write the config to *path*."""
        config = {
            "model_list": self.models,
            "router_settings": {
                "num_retries": 0,
                "disable_cooldowns": True,
                **({"fallbacks": self.fallbacks} if self.fallbacks else {}),
            },
            "litellm_settings": {
                "callbacks": [
                    # Not in the order of the other configs: any will do.
                    *(["plugins.budget.handler"] if self.wired else []),
                    "plugins.gateway.handler",
                    "plugins.matryoshka.handler",
                    *ADVISED,
                    *self.callbacks,
                ],
                "custom_provider_map": [
                    {"provider": "qwen3", "custom_handler": "plugins.provider.handler"}
                ],
            },
            "general_settings": {
                "master_key": "os.environ/LITELLM_MASTER_KEY",
                "custom_auth": self.auth,
            },
            # A known text costs nothing: here every request is to cost something. And probes of
            # parity would stand in the journals and the ledger.
            "embedding_router": {"cache": {"enabled": False}, "parity": "off", **self.section},
        }
        path.write_text(yaml.safe_dump(config, sort_keys=False))
        return path


def key_of(alias: str) -> str:
    """Return the client key with *alias*."""
    return f"sk-money-key-of-{alias}"


def keys(entries: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Return the section `keys` with the hash of each alias's key."""
    return {
        alias: {"sha256": [hashlib.sha256(key_of(alias).encode()).hexdigest()], **entry}
        for alias, entry in entries.items()
    }


def text_of(tokens: int, number: int = 0) -> str:
    """Return a text with exactly *tokens* tokens, end token included; *number* tells them apart."""
    text = f"{number:05d}"  # one token a digit
    while reference.count(text) < tokens:
        text += " word"
    assert reference.count(text) == tokens
    return text


@dataclass(frozen=True)
class Billed:
    """What an account was charged in truth."""

    calls: int
    tokens: int
    nano_usd: int


def billed(box: Sandbox, provider: str, account: str | None = None) -> Billed:
    """Return what *provider* billed, to *account* if one is given."""
    found = [
        entry for entry in box.journal(provider) if account is None or entry["account"] == account
    ]
    return Billed(
        len(found),
        sum(entry["billed_tokens"] for entry in found),
        sum(entry["billed_nano_usd"] for entry in found),
    )


def rooms(state: Path | Ledger, names: Iterable[str] | None = None) -> dict[str, Room]:
    """Return the budgets of the ledger in the folder *state*, overdue holds expired.

    A reply does not wait for its booking, so nothing is held any more when this returns, or a
    moment has passed: what is held then is of a call whose outcome nobody knows.
    """

    async def read() -> list[Room]:
        ledger = SqliteLedger(state / "ledger.db") if isinstance(state, Path) else state
        until = time.monotonic() + _BOOKED_S
        try:
            while True:
                await ledger.sweep()
                assert await ledger.check() == []
                found = await ledger.rooms(None if names is None else list(names))
                held = any(one.held != Amount() for one in found)
                if not held or time.monotonic() > until:
                    return found
                await asyncio.sleep(0.01)
        finally:
            await ledger.close()

    return {one.budget.name: one for one in asyncio.run(read())}


def room(state: Path | Ledger, name: str) -> Room:
    """Return the budget *name* of the ledger."""
    return rooms(state, [name])[name]


async def ask_all(
    bases: Sequence[str],
    bodies: Iterable[Mapping[str, Any]],
    *,
    key: str = MASTER_KEY,
    tell: Callable[[httpx.Response | None], None] = lambda _: None,
    timeout_s: float = 60.0,
) -> list[httpx.Response | None]:
    """POST all *bodies* at once, in turn to each of *bases*, and *tell* every reply as it comes.

    A reply is None where the connection broke.
    """
    limits = httpx.Limits(max_connections=None)
    headers = {"authorization": f"Bearer {key}"}
    async with httpx.AsyncClient(timeout=timeout_s, limits=limits, headers=headers, **PLAIN) as c:

        async def one(base: str, body: Mapping[str, Any]) -> httpx.Response | None:
            reply = None
            with contextlib.suppress(httpx.TransportError):
                reply = await c.post(f"{base}/v1/embeddings", json=body)
            tell(reply)
            return reply

        return await asyncio.gather(
            *(one(bases[i % len(bases)], body) for i, body in enumerate(bodies))
        )


def wait_for_a_minute_with(seconds: float) -> None:
    """Wait until the present minute has at least *seconds* left."""
    left = 60 - time.time() % 60
    if left < seconds:
        time.sleep(left + 0.1)
