"""The proxy that the health tests share: one group, with endpoints of its own, for every fault."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import httpx
import numpy as np

from router_config.sandbox import Sandbox
from tests.proxy import reference
from tests.proxy.budgets import Setup
from tests.proxy.harness import MASTER_KEY, PLAIN, Proxy
from tests.proxy.watching import Watch
from tests.sizes import FULL

__all__ = ["BASE_S", "EIGHT", "FAULTS", "TAKEN", "Ward", "configured"]

# Each with keys, so that a group can have accounts, and so endpoints, that no other group has.
EIGHT = (
    "deepinfra",
    "scaleway",
    "siliconflow",
    "siliconflow-cn",
    "fireworks",
    "openrouter",
    "nebius",
    "novita",
)
# In the full size the defaults: on them hangs how much of the traffic trials are.
BASE_S, MAX_S = (10.0, 300.0) if FULL else (3.0, 12.0)
# What the router's own probes send.
_PROBE = [reference.sha256("a")]
# P1 to P24, P23 (another space) apart, which no single reply shows: kind, provider, options.
FAULTS: Mapping[str, tuple[str, str, Mapping[str, Any]]] = {
    "p1-refused": ("down", "deepinfra", {}),
    "p2-hang": ("hang", "nebius", {}),
    "p3-slowloris": ("slowloris", "novita", {}),
    "p4-reset": ("reset_mid_body", "scaleway", {}),
    "p5-500": ("status", "deepinfra", {"status": 500}),
    "p5-503": ("status", "siliconflow", {"status": 503}),
    "p6-429": ("rate_limited", "openrouter", {"retry_after_s": 30}),
    "p7-401": ("unauthorized", "deepinfra", {}),
    "p7-403": ("forbidden", "novita", {}),
    "p8-402": ("payment", "siliconflow", {}),
    "p8-403": ("payment_in_403", "nebius", {}),
    "p9-field": ("bad_field", "fireworks", {}),
    "p11-404": ("model_missing", "siliconflow-cn", {}),
    "p12-200": ("error_in_200", "openrouter", {"code": 502}),
    "p13-fewer": ("fewer_vectors", "scaleway", {}),
    "p14-twice": ("duplicate_index", "scaleway", {}),
    "p15-nan": ("nan_null", "fireworks", {}),
    "p16-zero": ("zero_vector", "deepinfra", {}),
    "p17-short": ("short_vectors", "nebius", {}),
    "p17-ragged": ("ragged", "fireworks", {}),
    "p18-same": ("same_vector", "novita", {}),
    "p19-base64": ("base64_short", "deepinfra", {}),
    "p21-json": ("truncated_json", "siliconflow", {}),
    "p21-bomb": ("gzip_bomb", "deepinfra", {"megabytes": 20}),
    "p22-redirect": ("redirect", "deepinfra", {"status": 302}),
    "p24-slow": ("slow", "scaleway", {"delay_s": 20}),
    "p25-flap": ("flap", "deepinfra", {"ok": 1, "fail": 1}),
}
# What is no failure: the deployment stays.
TAKEN: Mapping[str, tuple[str, str, Mapping[str, Any]]] = {
    "p14-shuffled": ("shuffled", "scaleway", {}),
    "p20-usage": ("usage_missing", "deepinfra", {}),
    "p24-slower": ("slow", "nebius", {"delay_s": 0.1}),
}


@dataclass
class Ward:
    """The proxy and its providers."""

    proxy: Proxy
    box: Sandbox

    def befall(self, kind: str, provider: str, options: Mapping[str, Any]) -> None:
        """Let a fault befall *provider*, for good."""
        if kind == "down":
            self.box.down(provider)
        else:
            self.box.fault(provider, kind, **options)

    def ask(
        self, group: str, numbers: Iterable[int], *, at_once: int = 4, path: str = "ours"
    ) -> list[httpx.Response]:
        """Ask for two texts of each number and return the replies in order.

        *path* is "litellm" for the way through LiteLLM's Router.
        """
        return asyncio.run(self._ask(group, list(numbers), at_once, path))

    async def _ask(
        self, group: str, numbers: list[int], at_once: int, path: str
    ) -> list[httpx.Response]:
        headers = {"authorization": f"Bearer {MASTER_KEY}", "x-router-path": path}
        turns = asyncio.Semaphore(at_once)
        async with httpx.AsyncClient(timeout=60, headers=headers, **PLAIN) as client:

            async def one(number: int) -> httpx.Response:
                body = {"model": group, "input": texts(number), "dimensions": 32}
                async with turns:
                    return await client.post(f"{self.proxy.base}/v1/embeddings", json=body)

            return list(await asyncio.gather(*map(one, numbers)))

    def calls(self, group: str, provider: str) -> int:
        """Return how many calls for clients reached *provider* with the key of *group*."""
        return sum(
            entry["account"] == f"{group}--{provider}" and entry["sha256"] != _PROBE
            for entry in self.box.journal(provider)
        )


def texts(number: int) -> list[str]:
    return [f"текст {number}", f"and another text {number}"]


def assert_right(replies: Sequence[httpx.Response], numbers: Iterable[int]) -> None:
    """Check that every reply holds the vectors of its texts, after three calls at most."""
    for reply, number in zip(replies, numbers, strict=True):
        difference = reference.rows(reply) - reference.expected(texts(number), 32)
        assert np.abs(difference).max() <= reference.TOLERANCE
        assert 1 <= int(reply.headers["x-router-attempts"]) <= 3


def changes(watch: Watch, group: str) -> list[str]:
    """Return the lines that say who of *group* left or came back."""
    return [
        line
        for line in watch.lines()
        if "qwen3_router.health: endpoint" in line and f"deployment={group}--" in line
    ]


def configured(box: Sandbox) -> Setup:
    """Return the config: in every group the one that a fault befalls first, then all others."""
    setup = Setup(box)
    for group, (_, sick, _) in {**FAULTS, **TAKEN}.items():
        setup.add(group, sick)
        for other in EIGHT:
            if other != sick:
                setup.add(group, other, 2)
    for group in ("all-down", "all-silent"):
        for provider in EIGHT:
            setup.add(group, provider, timeout=0.5)
    for group in ("comes-back", "revoked-ours", "revoked-litellm", "seen"):
        setup.add(group, "deepinfra")
        setup.add(group, "nebius", 2)
    for provider in EIGHT[:2]:
        setup.add("all-down-litellm", provider)
    setup.add("needed", "novita")
    setup.add("limited", "openrouter")
    setup.add("plain-first", "deepinfra", plain=True)
    setup.add("plain-first", "nebius", 2)
    setup.add("plain-takes-less", "nebius", plain=True)
    setup.add("plain-takes-less", "novita", 2)
    setup.add("plain-rests", "scaleway", plain=True)
    setup.add("plain-rests", "nebius", 2)
    groups = setup.section.setdefault("groups", {})
    groups["needed"] = {"required": True}
    setup.section["parity"] = "off"
    setup.section["cache"] = {"enabled": False}  # every text is asked of somebody
    setup.section["health"] = {"base_s": BASE_S, "max_s": MAX_S, "slow_start_s": 1}
    return setup
