"""Probes over real sockets: who is asked what, what brings back, and what it may cost."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml

from plugins._attempt import Attempt, Outcome
from plugins._budgets import of_probes
from plugins._errors import Fault, ProviderFault
from plugins._health import Health
from plugins._ledger_sqlite import SqliteLedger
from plugins._money import Money
from plugins._notes import Notes
from plugins._pool import Candidate, build
from plugins._probes import LEASE, Probes
from plugins._shared_sqlite import SqliteShared
from plugins._wire import Wire
from router_config import Config, load
from router_config.sandbox import Sandbox
from tests.wiring import wiring

# With a free signal, without one, an own server.
PAID, BARE, OWN = "deepinfra", "fireworks", "tei"
HOUR = 3600.0


class Clock:
    def __init__(self) -> None:
        self.at = 1_795_000_000.0

    def __call__(self) -> float:
        return self.at


@dataclass
class Set:
    """Probes with all that they stand on, and a clock that the test sets."""

    box: Sandbox
    health: Health
    notes: Notes
    probes: Probes
    ledger: SqliteLedger
    candidates: dict[str, Candidate]
    clock: Clock
    shared: SqliteShared
    used: dict[str, float]
    read: dict[str, int] = field(default_factory=dict)

    def key(self, provider: str) -> str:
        return self.candidates[provider].endpoint.key

    def kind(self, provider: str) -> str | None:
        standing = self.health.standing(self.key(provider))
        return None if standing is None else standing.kind

    async def eject(self, provider: str, fault: Fault, *, further: bool = False) -> None:
        """Have live calls fail until the endpoint is out, or out for longer."""
        standing = self.health.standing(self.key(provider))
        if further and standing is not None and standing.until is not None:
            self.clock.at = max(self.clock.at, standing.until + 3)
        for _ in range(3):
            what = Attempt("req", self.candidates[provider], None, (), 1, 2)
            failed = ProviderFault(fault, "as the test says")
            await self.health.after(what, Outcome(failed, 0, 0, True, 2.0))
        assert self.kind(provider) == "ejected"

    async def after(self, seconds: float) -> None:
        """Let time pass, then have the probes look once."""
        self.clock.at += seconds
        await self.probes.step()
        await self.probes.settled()

    def asked(self, provider: str) -> list[str]:
        """Return the methods of the calls since the last time."""
        found = self.box.journal(provider, after=self.read.get(provider, 0))
        self.read[provider] = self.read.get(provider, 0) + len(found)
        return [entry["method"] for entry in found]

    def billed(self, provider: str) -> int:
        return self.box.totals(provider)["billed_tokens"]

    async def spent(self, name: str) -> Any:
        (room,) = await self.ledger.rooms([name])
        return room.spent


@pytest.fixture(scope="module")
def running() -> Iterator[Sandbox]:
    with Sandbox(mode="hash", providers=[PAID, BARE, OWN]) as box:
        yield box


@pytest.fixture
def box(running: Sandbox) -> Sandbox:
    running.reset()
    return running


def config_of(box: Sandbox, folder: Path, **health: Any) -> Config:
    def entry(provider: str) -> dict[str, Any]:
        return {
            "model_name": "g",
            "litellm_params": {
                "model": f"qwen3/{provider}",
                "api_base": box.bases[provider],
                "api_key": "os.environ/TEST_KEY",
                "timeout": 2,
            },
            "model_info": {"id": provider, "mode": "embedding", "budget": "account"},
        }

    own = entry(OWN)
    del own["model_info"]["budget"]
    made = {
        "model_list": [entry(PAID), entry(BARE), own],
        **wiring("gateway", "matryoshka"),
        "embedding_router": {
            "budgets": {"account": {"usd": 1, "period": "lifetime"}},
            "health": health,
        },
    }
    path = folder / "config.yaml"
    path.write_text(yaml.safe_dump(made))
    return load(path)


def run(box: Sandbox, folder: Path, test: Callable[[Set], Awaitable[None]], **health: Any) -> None:
    """Run *test* with probes over the providers of *box*; every provider takes the same key."""
    for provider in (PAID, BARE):
        box.configure(provider, key_needed=False)
    config = config_of(box, folder, **health)

    async def bounded() -> None:
        async with asyncio.timeout(60), AsyncExitStack() as stack:
            clock = Clock()
            pool = build(config, {"TEST_KEY": "any"})
            ledger = SqliteLedger(folder / "ledger.db")
            shared = SqliteShared(folder / "shared.db", wall=clock)
            wire = Wire()
            stack.push_async_callback(ledger.close)
            stack.push_async_callback(shared.close)
            stack.push_async_callback(wire.aclose)
            ours = Health(pool, clock=clock, draw=lambda: 0.5, me="me")
            notes = Notes(shared, "me", wall=clock)
            used: dict[str, float] = {}
            probes = Probes(
                ours,
                Money(ledger, clock),
                notes,
                transport=lambda: wire,
                used=used.get,
                clock=clock,
                wall=clock,
            )
            probes.use(pool, (of_probes(config),), config.health.idle_s)
            stack.push_async_callback(probes.aclose)
            candidates = {one.id: one for one in pool["g"]}
            await test(Set(box, ours, notes, probes, ledger, candidates, clock, shared, used))

    asyncio.run(bounded())


def test_an_own_server_that_answers_again_returns_by_vectors(box: Sandbox, tmp_path: Path) -> None:
    async def test(it: Set) -> None:
        await it.eject(OWN, Fault.CONNECT)
        box.down(OWN)
        await it.after(15)
        standing = it.health.standing(it.key(OWN))
        # Not a client's request, but a probe, found that nobody is there yet.
        assert standing is not None
        assert standing.until is not None
        assert standing.until > it.clock.at
        assert it.asked(OWN) == []
        box.clear(OWN)
        await it.after(60)
        assert it.kind(OWN) == "ejected"  # once is not enough
        await it.after(2)
        assert it.kind(OWN) == "returning"
        assert sorted(it.asked(OWN)) == ["GET", "GET", "POST", "POST"]

    run(box, tmp_path, test)


def test_a_refused_connection_is_mended_by_the_free_signal(box: Sandbox, tmp_path: Path) -> None:
    async def test(it: Set) -> None:
        await it.eject(PAID, Fault.CONNECT)
        await it.after(15)
        await it.after(2)
        assert it.kind(PAID) == "returning"
        assert (it.asked(PAID), it.billed(PAID)) == (["GET", "GET"], 0)

    run(box, tmp_path, test)


@pytest.mark.parametrize("fault", [Fault.TIMEOUT, Fault.OVERLOAD, Fault.SERVER, Fault.RESET])
def test_a_free_signal_shows_no_vectors_and_lets_a_request_try(
    box: Sandbox, tmp_path: Path, fault: Fault
) -> None:
    async def test(it: Set) -> None:
        await it.eject(PAID, fault)
        for _ in range(4):
            await it.after(15)
        assert it.kind(PAID) == "ejected"
        assert it.health.why_out(it.candidates[PAID], it.clock.at, last=False) is None
        assert it.billed(PAID) == 0
        assert set(it.asked(PAID)) == {"GET"}

    run(box, tmp_path, test)


@pytest.mark.parametrize("fault", [Fault.TIMEOUT, Fault.SERVER, Fault.RESET])
def test_where_a_group_has_nobody_else_a_probe_brings_back(
    box: Sandbox, tmp_path: Path, fault: Fault
) -> None:
    async def test(it: Set) -> None:
        for _ in range(6):  # they stay out for longer than a probe waits
            for provider in (PAID, BARE, OWN):
                await it.eject(provider, fault, further=True)
        box.down(BARE)
        box.down(OWN)
        it.asked(PAID)
        assert not it.health.has_anybody("g")
        before, waited = it.clock.at, 0.0
        while it.kind(PAID) == "ejected":
            await it.after(1)
            waited = it.clock.at - before
            assert waited < 63  # one interval of the probes, and the second of a further one
        assert it.asked(PAID) == ["GET", "POST"] * 2
        assert it.billed(PAID) == 4

    run(box, tmp_path, test, idle_s=0)


@pytest.mark.parametrize("kind", [*Fault])
def test_a_paid_one_that_is_unproven_comes_back_so_that_it_can_be_proven(
    box: Sandbox, tmp_path: Path, kind: Fault
) -> None:
    async def test(it: Set) -> None:
        it.health.unproven = lambda _: "its vectors are not proven yet"
        for provider in (PAID, BARE):
            if kind not in (Fault.CANCELLED, Fault.TOO_LONG, Fault.RATE):
                await it.eject(provider, kind)
        for _ in range(10):
            await it.after(HOUR / 4)
        assert it.kind(PAID) in (None, "returning")
        assert it.kind(BARE) in (None, "returning")
        assert it.billed(PAID) == 0  # the free signal is enough, since no client is served
        assert it.health.why_out(it.candidates[PAID], it.clock.at, last=True) is not None

    run(box, tmp_path, test, idle_s=0)


def test_while_the_free_signal_fails_no_request_tries(box: Sandbox, tmp_path: Path) -> None:
    async def test(it: Set) -> None:
        await it.eject(PAID, Fault.OVERLOAD)
        box.fault(PAID, "status", status=503, where="all")
        await it.after(15)
        assert it.health.why_out(it.candidates[PAID], it.clock.at, last=False) is not None
        assert it.billed(PAID) == 0

    run(box, tmp_path, test)


@pytest.mark.parametrize("fault", [Fault.AUTH, Fault.PAYMENT, Fault.MODEL, Fault.DIALECT])
def test_what_lasts_is_asked_for_a_vector_once_an_hour(
    box: Sandbox, tmp_path: Path, fault: Fault
) -> None:
    async def test(it: Set) -> None:
        kinds = {Fault.AUTH: "unauthorized", Fault.PAYMENT: "payment", Fault.DIALECT: "bad_field"}
        box.fault(PAID, kinds.get(fault, "model_missing"))
        await it.eject(PAID, fault)
        for _ in range(8):
            await it.after(HOUR / 4)
        assert it.asked(PAID) == ["GET", "POST"] * 2
        assert it.kind(PAID) == "ejected"
        box.clear(PAID)
        await it.after(HOUR)
        await it.after(2)
        assert it.kind(PAID) == "returning"
        assert it.billed(PAID) == 4  # two texts of one token, each with its end token
        # Both the account and the budget of the probes know of it.
        for name in ("account", "router:probes"):
            assert (await it.spent(name)).tokens == 4

    run(box, tmp_path, test, idle_s=0)


def test_a_signal_that_says_key_refused_spares_the_call(box: Sandbox, tmp_path: Path) -> None:
    async def test(it: Set) -> None:
        await it.eject(PAID, Fault.AUTH)
        box.configure(PAID, key_needed=True)  # ours is wrong
        await it.after(HOUR)
        assert it.asked(PAID) == ["GET"]
        assert it.kind(PAID) == "ejected"

    run(box, tmp_path, test)


def test_corrupt_vectors_are_not_mended_by_being_there(box: Sandbox, tmp_path: Path) -> None:
    async def test(it: Set) -> None:
        box.fault(PAID, "nan_null")
        await it.eject(PAID, Fault.CORRUPT)
        for _ in range(4):
            await it.after(60)
        assert it.kind(PAID) == "ejected"
        assert "POST" in it.asked(PAID)
        box.clear(PAID)
        await it.after(300)
        await it.after(2)
        assert it.kind(PAID) == "returning"

    run(box, tmp_path, test)


@pytest.mark.parametrize("how", ["quarantine", "eject", "drain"])
def test_who_was_taken_out_on_purpose_is_not_probed(box: Sandbox, tmp_path: Path, how: str) -> None:
    async def test(it: Set) -> None:
        if how == "quarantine":
            it.health.quarantine(it.key(OWN), "parity: another space")
        else:
            it.health.eject(it.key(OWN), drain=how == "drain")
        for _ in range(3):
            await it.after(2 * HOUR)
        assert it.asked(OWN) == []

    run(box, tmp_path, test, idle_s=0)


def test_an_empty_budget_of_probes_ends_calls_that_cost(box: Sandbox, tmp_path: Path) -> None:
    async def test(it: Set) -> None:
        box.fault(BARE, "status", status=500)
        await it.eject(BARE, Fault.SERVER)
        await it.eject(OWN, Fault.SERVER)
        for _ in range(60):
            await it.after(301)
        # A call holds its worst case, so the last one does not fit.
        assert (await it.spent("router:probes")).tokens <= 20
        assert it.asked(BARE).count("POST") <= 10
        assert it.kind(OWN) != "ejected"  # it costs nothing

    run(box, tmp_path, test, idle_s=0, probe_budget={"tokens": 20, "period": "lifetime"})


def test_who_is_idle_is_looked_at_without_cost_where_that_can_be(
    box: Sandbox, tmp_path: Path
) -> None:
    async def test(it: Set) -> None:
        it.used[it.key(BARE)] = it.clock.at + 100
        await it.after(100)
        assert [it.asked(one) for one in (PAID, BARE, OWN)] == [[], [], []]
        await it.after(100)
        assert [it.asked(one) for one in (PAID, BARE, OWN)] == [["GET"], [], ["GET"]]
        await it.after(100)
        assert it.asked(BARE) == ["POST"]
        assert it.billed(BARE) == 2

    run(box, tmp_path, test, idle_s=150)


def test_one_that_is_idle_and_sick_leaves_before_a_client_meets_it(
    box: Sandbox, tmp_path: Path
) -> None:
    async def test(it: Set) -> None:
        box.fault(PAID, "unauthorized", where="all")
        box.fault(OWN, "status", status=500, where="all")
        await it.after(2 * HOUR)
        assert (it.kind(PAID), it.kind(OWN), it.kind(BARE)) == ("ejected", "ejected", None)
        assert it.asked(PAID).count("POST") == 2
        assert it.asked(OWN).count("POST") == 3

    run(box, tmp_path, test)


def test_nobody_is_looked_at_who_need_not_be(box: Sandbox, tmp_path: Path) -> None:
    async def test(it: Set) -> None:
        for _ in range(3):
            await it.after(24 * HOUR)
        assert [it.asked(one) for one in (PAID, BARE, OWN)] == [[], [], []]

    run(box, tmp_path, test, idle_s=0)


def test_only_who_has_the_lease_probes(box: Sandbox, tmp_path: Path) -> None:
    async def test(it: Set) -> None:
        await it.eject(OWN, Fault.CONNECT)
        assert await it.shared.lease(LEASE, "another process", HOUR)
        await it.after(60)
        assert it.asked(OWN) == []
        assert not it.probes.leads
        await it.after(HOUR)
        assert it.probes.leads
        assert it.asked(OWN) == ["GET", "POST"]

    run(box, tmp_path, test, idle_s=0)
