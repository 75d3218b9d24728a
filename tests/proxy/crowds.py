"""A crowd against little money, at providers that hang, break off and bill all the same.

What the emulators billed is the truth: it must never be over a limit, by a single nano-dollar.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from plugins._ledger import Ledger, Room, Unit
from router_config.sandbox import Sandbox
from tests.proxy.answers import refused
from tests.proxy.budgets import PRICES, Setup, ask_all, billed, rooms, text_of
from tests.proxy.harness import Proxy
from tests.sizes import size

__all__ = [
    "BARE",
    "BARE_KEY",
    "IDENTITIES",
    "POOLS",
    "TOKENS",
    "Storm",
    "Where",
    "assert_held",
    "assert_used_up",
    "called",
    "configured",
    "kill",
    "providers_in_a_storm",
    "stormy",
]

Where = Callable[[], Path | Ledger]  # opens the ledger anew

CROWD = 200  # against what is worth 20
OTHERS = size(40, CROWD)
BIG = ("dollars-listed", "tokens-own")  # a crowd in every size
WORTH = 20  # calls
TOKENS = 60  # of a call; held as 62
# Long enough for a provider on a busy machine to see a call: one that it never saw counts as spent
# like any other of which nothing is known, and would not have been billed.
CALL_S = size(3, 5)
HOLD_S = CALL_S + 5  # with the ledger's slack
# Group and budget, its unit, and what a call costs in that unit.
POOLS: dict[str, tuple[Unit, int]] = {
    "dollars-listed": ("nano_usd", TOKENS * 10),
    "dollars-own": ("nano_usd", TOKENS * 30),
    "tokens-listed": ("tokens", TOKENS),
    "tokens-own": ("tokens", TOKENS),
    "plain-own": ("tokens", TOKENS),  # called by LiteLLM's own client
}
# Names as LiteLLM's database knows them, and whose budget a client is told to be used up.
# A key without an alias is known by its hash.
BARE_KEY = "sk-bare.key-without-an-alias"
BARE = f"key:{hashlib.sha256(BARE_KEY.encode()).hexdigest()}"
IDENTITIES = {
    "key:a-key": "this key",
    BARE: "this key",
    "team:a-team": "this team",
    "user:a-user": "this user",
}
# Who stands in a group: at the catalogue's price, or at one in model_info.
_LISTED, _OWN = ("deepinfra", "siliconflow"), ("nebius", "fireworks")
_OWN_PER_TOKEN = 0.00000003
# A dollar budget "worth 20" needs one price in its group.
_PRICES = {**PRICES, "siliconflow": "0.04", "fireworks": "0.03"}


def _members(group: str) -> tuple[str, ...]:
    if group == "dollars-listed":
        return ("deepinfra",)
    if group == "plain-own":
        return ("nebius",)
    return _LISTED if group.endswith("listed") else _OWN


def _limit(group: str) -> int:
    return WORTH * POOLS[group][1]


@contextmanager
def providers_in_a_storm() -> Iterator[Sandbox]:
    """Start the providers; see `stormy`."""
    names = [*_LISTED, *_OWN, "vllm", "novita"]
    with Sandbox(
        mode="hash",
        providers=names,
        settings={name: {"price": price} for name, price in _PRICES.items()},
    ) as box:
        yield box


def stormy(box: Sandbox) -> None:
    """Let 30 % of all calls hang or be reset, each of them billed."""
    box.reset()
    for seed, provider in enumerate((*_LISTED, *_OWN)):
        box.fault(provider, "hang", probability=0.15, random_seed=seed, billed=True)
        # Of those that do not hang.
        box.fault(provider, "reset_before_answer", probability=0.15 / 0.85, random_seed=seed + 10)


def configured(box: Sandbox, ledger: str, *, lowered: int = 1000, wired: bool = True) -> Setup:
    """Return the config: the pools, and a few groups that no storm reaches."""
    setup = Setup(box, wired=wired)
    for group in POOLS:
        for order, provider in enumerate(_members(group), 1):
            price: dict[str, Any] = (
                {"input_cost_per_token": _OWN_PER_TOKEN} if provider in _OWN else {}
            )
            plain = group == "plain-own"
            setup.add(group, provider, order, plain=plain, timeout=CALL_S, budget=group, **price)
    setup.add("alerts", "novita", budget="alerts")
    setup.add("lowered", "novita", budget="lowered")
    setup.add("paid", "novita", budget="rich")
    setup.add("paid-first", "novita", budget="rich")
    setup.add("paid-first", "vllm", 2)
    setup.add("own", "vllm")
    budgets: dict[str, dict[str, object]] = {
        **{name: {"tokens": 50, "period": "month"} for name in IDENTITIES},
        "alerts": {"tokens": 100, "period": "month"},
        "lowered": {"tokens": lowered, "period": "month"},
        "rich": {"usd": 5, "period": "month"},
    }
    for group, (unit, _) in POOLS.items():
        worth = _limit(group)
        money = {"usd": f"{worth / 1e9:.9f}"} if unit == "nano_usd" else {"tokens": worth}
        budgets[group] = {**money, "period": "lifetime"}
    setup.section.update({"ledger": ledger, "budgets": budgets})
    return setup


@dataclass(frozen=True)
class _Spent:
    """How a budget stands, by the ledger and by those who billed."""

    group: str
    room: Room
    true: int

    @property
    def booked(self) -> int:
        return int(getattr(self.room.spent, POOLS[self.group][0]))

    @property
    def held(self) -> int:
        return int(getattr(self.room.held, POOLS[self.group][0]))


def _spent(box: Sandbox, where: Where) -> list[_Spent]:
    found = rooms(where(), list(POOLS))
    got = []
    for group, (unit, _) in POOLS.items():
        bills = [billed(box, one, f"{group}--{one}") for one in _members(group)]
        true = sum(bill.nano_usd if unit == "nano_usd" else bill.tokens for bill in bills)
        got.append(_Spent(group, found[group], true))
    return got


def assert_held(box: Sandbox, where: Where) -> None:
    """Check that nothing is over its limit now."""
    for one in _spent(box, where):
        assert one.true <= one.booked + one.held <= _limit(one.group), one


def assert_used_up(box: Sandbox, where: Where, killed: Sequence[str] = ()) -> None:
    """Check every budget once all holds have ended: nothing over it, and little of it unused.

    What was held for a call when its process was *killed* counts as spent, also if the call had not
    been sent yet: that much of these budgets was never billed.
    """
    ends = time.monotonic() + HOLD_S + 10
    while any(one.held for one in _spent(box, where)) and time.monotonic() < ends:
        time.sleep(0.25)
    for one in _spent(box, where):
        limit = _limit(one.group)
        print(
            f"\n{one.group}: limit {limit}, billed {one.true} ({one.true / limit:.1%}), "
            f"booked {one.booked} ({one.booked / limit:.1%}) {POOLS[one.group][0]}",
            end="",
        )
        assert one.held == 0
        assert one.true <= one.booked <= limit
        assert (one.booked if one.group in killed else one.true) >= 0.8 * limit


@dataclass
class Storm:
    """Crowds against pools, all at once, at proxies at *bases*; *vectors* counts good replies."""

    bases: Sequence[str]
    vectors: int = 0
    broken: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def run(
        self,
        pools: Sequence[str] = tuple(POOLS),
        *,
        when: Callable[[], bool] = lambda: True,
        then: Callable[[], None] = lambda: None,
    ) -> None:
        """Send the crowds; do *then* as soon as *when*, in their midst."""
        with ThreadPoolExecutor(len(pools)) as threads:
            crowds = [threads.submit(self._crowd, pool) for pool in pools]
            while not when() and not all(one.done() for one in crowds):
                time.sleep(0.005)
            then()
            for one in crowds:
                one.result()

    def _crowd(self, pool: str) -> None:
        n = CROWD if pool in BIG else OTHERS
        bodies = [{"model": pool, "input": text_of(TOKENS, i), "dimensions": 32} for i in range(n)]
        asyncio.run(ask_all(self.bases, bodies, tell=self._note))

    def _note(self, reply: httpx.Response | None) -> None:
        if reply is not None and reply.status_code != 200:
            refused(reply, 503, "no_deployment_available", retry=True)
        with self._lock:
            self.vectors += reply is not None and reply.status_code == 200
            self.broken += reply is None


def called(box: Sandbox) -> bool:
    """Tell whether some calls of a crowd have reached their providers."""
    return len(box.journal(_OWN[0])) >= 5


def kill(proxy: Proxy) -> None:
    """End *proxy* and all its processes as a power cut would."""
    os.killpg(proxy.process.pid, signal.SIGKILL)
    proxy.process.wait()
