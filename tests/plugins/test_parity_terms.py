"""A request is answered only from where the group that it asks accepts vectors."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from plugins._admission import Consumer
from plugins._background import Background
from plugins._errors import ProviderFault, Unavailable
from plugins._parity_judge import Flaw, Verdict
from plugins._parity_result import Result
from plugins._plan import Plan
from plugins._runtime import Runtime
from plugins._sharing import Share
from plugins._snapshot import Snapshot
from router_config import load
from router_config.sandbox import Sandbox
from tests.plugins.test_parity import box, calls, config_file, keys, sandbox

__all__ = ["box", "sandbox"]  # fixtures

NOISY = Verdict(Flaw.NOISE, "cosine 0.970")
PROVEN = Verdict(None, "in the space", cosine=1.0)
TWO_GROUPS = {"g": ("deepinfra",), "f": ("vllm",)}


def with_fallback(path: Path, fallbacks: Mapping[str, list[str]]) -> Path:
    data = yaml.safe_load(path.read_text())
    data["router_settings"]["fallbacks"] = [{name: to} for name, to in fallbacks.items()]
    path.write_text(yaml.safe_dump(data))
    return path


class House:
    """One process without LiteLLM."""

    def __init__(self, sandbox: Sandbox, config: Path) -> None:
        self.sandbox = sandbox
        self.runtime = Runtime(load(config), keys(sandbox))
        self.runtime.background = Background()  # only what a test asks for

    def use(self, config: Path) -> None:
        """Go on with another configuration, as a reload does."""
        old = self.runtime.snapshot
        for swap in self.runtime.swaps:
            swap(old, Snapshot(load(config), keys(self.sandbox)))

    def key(self, id_: str) -> str:
        found = self.runtime.snapshot.candidate(id_)
        assert found is not None
        return found.endpoint.key

    def say(self, id_: str, **verdicts: Verdict) -> None:
        """Have it known that *id_* has these verdicts, by group."""
        parity = self.runtime.parity
        by_space = {parity.spaces.of_group[one].id: said for one, said in verdicts.items()}
        now = self.runtime.health.clock()
        parity.bars.keep(Result(self.key(id_), id_, now, "another", by_space))

    async def plan(self, group: str = "g", text: str = "text") -> Plan:
        exchange = self.runtime.exchanges.open()
        exchange.asked = exchange.snapshot.parse({"model": group, "input": text}, {})
        found = exchange.snapshot.group_of(group)
        assert found is not None
        return await self.runtime.admit(exchange, found, Consumer())

    async def serve(self, plan: Plan) -> None:
        while (one := self.runtime.next(plan)) is not None:
            try:
                return await self.runtime.serve(plan, one)
            except ProviderFault:
                continue
        raise plan.failure(self.runtime.clock())

    def share(self, plan: Plan, group: str = "g") -> Share:
        found = self.runtime.snapshot.group_of(group)
        assert found is not None
        share = self.runtime.share(plan, found)
        assert share is not None
        return share

    async def ask(self, group: str = "g", text: str = "text") -> tuple[str, list[str]]:
        """Return what the cache says of a request, and who served it."""
        plan = await self.plan(group, text)
        share = self.share(plan, group)
        await share.complete(lambda: self.serve(plan), lambda: False)
        return share.header(), plan.served_by


def run(test: Callable[[House], Awaitable[None]], sandbox: Sandbox, config: Path) -> None:
    async def work() -> None:
        house = House(sandbox, config)
        try:
            async with asyncio.timeout(60):
                await test(house)
        finally:
            await house.runtime.aclose()

    asyncio.run(work())


# -- fallbacks


@pytest.mark.parametrize("of_f", ["background", "off"])
def test_an_unproven_fallback_answers_no_group_that_requires_proof(
    box: Sandbox, tmp_path: Path, of_f: str
) -> None:
    config = config_file(box, tmp_path, TWO_GROUPS, of_groups={"g": "required", "f": of_f})
    box.down("deepinfra")

    async def test(house: House) -> None:
        plan = await house.plan()
        assert house.runtime.next(plan) is None
        assert "all are out of service" in str(plan.failure(0.0))
        assert (await house.ask("f"))[1] == ["f-vllm"]  # its own group has other terms
        await house.runtime.parity.tick()
        assert (await house.ask())[1] == ["f-vllm"]

    try:
        run(test, box, with_fallback(config, {"g": ["f"]}))
    finally:
        box.up("deepinfra")


def test_a_fallback_is_held_against_the_terms_of_the_group_that_is_asked(
    box: Sandbox, tmp_path: Path
) -> None:
    """Good enough for its own group, and neither quarantined nor used for the stricter one."""
    terms = {"g": {"cosine": 0.99}, "f": {"cosine": 0.95, "tolerance": 0.2}}
    config = config_file(box, tmp_path, TWO_GROUPS, of_groups=terms)
    box.fault("vllm", "noisy", cosine=0.97)

    async def test(house: House) -> None:
        await house.runtime.parity.tick()
        assert house.runtime.health.standings() == {}
        plan = await house.plan()
        (fallback,) = plan.groups[1]
        assert plan.admits(fallback) == "parity: noisy"
        assert plan.admits(plan.groups[0][0]) is None
        assert (await house.ask("f"))[1] == ["f-vllm"]

    run(test, box, with_fallback(config, {"g": ["f"]}))


def test_who_only_stands_in_is_not_quarantined_for_another_group_s_space(
    box: Sandbox, tmp_path: Path
) -> None:
    config = config_file(box, tmp_path, TWO_GROUPS, of_groups={"f": "off"})
    box.fault("vllm", "other_seed")

    async def test(house: House) -> None:
        await house.runtime.parity.tick()
        assert house.runtime.health.standings() == {}
        plan = await house.plan()
        assert plan.admits(plan.groups[1][0]) == "parity: wrong space"
        assert (await house.ask("f"))[1] == ["f-vllm"]

    run(test, box, with_fallback(config, {"g": ["f"]}))


# -- what is known


def test_what_an_endpoint_gave_is_not_handed_out_once_it_has_failed_there(
    box: Sandbox, tmp_path: Path
) -> None:
    """It passed in another group, so it is not quarantined and its entries stay."""
    groups = {"g": ("deepinfra", "vllm"), "h": ("deepinfra",)}
    terms = {"g": {"cosine": 0.99}, "h": {"cosine": 0.9}}

    async def test(house: House) -> None:
        assert await house.ask() == ("MISS", ["g-deepinfra"])
        assert await house.ask("h") == ("MISS", ["h-deepinfra"])
        assert await house.ask() == ("HIT", ["g-deepinfra"])
        house.say("g-deepinfra", g=NOISY, h=PROVEN)
        assert await house.ask() == ("MISS", ["g-vllm"])
        assert await house.ask() == ("HIT", ["g-vllm"])
        assert await house.ask("h") == ("HIT", ["h-deepinfra"])
        assert house.runtime.health.standings() == {}

    run(test, box, config_file(box, tmp_path, groups, of_groups=terms))


def test_a_group_that_now_requires_proof_takes_nothing_from_before_it(
    box: Sandbox, tmp_path: Path
) -> None:
    groups = {"g": ("deepinfra",)}

    async def test(house: House) -> None:
        assert await house.ask() == ("MISS", ["g-deepinfra"])
        house.use(config_file(box, tmp_path, groups, "required"))
        with pytest.raises(Unavailable, match="out of service"):
            await house.ask()
        house.say("g-deepinfra", g=PROVEN)
        assert await house.ask() == ("HIT", ["g-deepinfra"])  # it was of this space all the time
        # Another space's proof does not hold for it, nor do its entries.
        house.use(config_file(box, tmp_path, groups, {"mode": "required", "cosine": 0.995}))
        house.say("g-deepinfra", g=PROVEN)
        assert await house.ask() == ("MISS", ["g-deepinfra"])

    run(test, box, config_file(box, tmp_path, groups))


@pytest.mark.parametrize("how", ["quarantined", "failed in this group"])
def test_nobody_is_handed_what_came_from_one_that_was_found_out_meanwhile(
    box: Sandbox, tmp_path: Path, how: str
) -> None:
    box.fault("deepinfra", "slow", delay_s=0.3)
    groups = {"g": ("deepinfra", "vllm"), "h": ("deepinfra",)}
    terms: dict[str, Any] = {"g": {"cosine": 0.99}, "h": {"cosine": 0.9}}

    async def test(house: House) -> None:
        leader = asyncio.create_task(house.ask())
        while not box.journal("deepinfra"):  # noqa: ASYNC110  # it is another thread's
            await asyncio.sleep(0.01)
        follower = asyncio.create_task(house.ask())
        await asyncio.sleep(0.05)
        if how == "quarantined":
            house.runtime.health.quarantine(house.key("g-deepinfra"), "parity: wrong space")
        else:
            house.say("g-deepinfra", g=NOISY, h=PROVEN)
        assert await leader == ("MISS", ["g-vllm"])
        assert await follower == ("HIT", ["g-vllm"])
        assert calls(box) == {"deepinfra": 1, "vllm": 1}
        assert (await house.ask())[1] == ["g-vllm"]  # nothing of it was kept

    run(test, box, config_file(box, tmp_path, groups, of_groups=terms))
