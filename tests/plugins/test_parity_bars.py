"""A failed proof holds, whatever gets lost or reloaded, until a newer one or an operator's word."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from plugins import _parity
from plugins._attempt import Attempt, Outcome
from plugins._errors import Fault, ProviderFault
from plugins._parity_bars import waive
from plugins._parity_judge import Flaw, Verdict
from plugins._parity_result import RESULT, Result
from plugins._standings import PREFIX as STANDING
from router_config.sandbox import Sandbox
from tests.plugins.test_parity import Node, box, calls, config_file, node_of, sandbox
from tests.plugins.test_shared_contract import Place, kind, place

__all__ = ["box", "kind", "place", "sandbox"]  # fixtures

TWO = {"g": ("deepinfra", "vllm")}
WRONG = Verdict(Flaw.SPACE, "cosine 0.012")
RIGHT = Verdict(None, "in the space", cosine=1.0)
OUT = "parity: wrong space"


def say(node: Node, provider: str, verdict: Verdict, *, later_s: float = 0.0) -> Result:
    """Have *node* know *verdict* without a call; health is told nothing."""
    key = node.key(provider)
    verdicts = dict.fromkeys(node.parity.spaces.needed[key], verdict)
    at = node.health.clock() + later_s
    result = Result(key, f"g-{provider}", at, node.notes.me, verdicts)
    node.parity.bars.keep(result)
    return result


def run(
    test: Callable[..., Awaitable[None]], box: Sandbox, place: Place, config: Path, *names: str
) -> None:
    """Run *test* with a process for each of *names*, which share the notes of *place*."""

    async def work() -> None:
        async with contextlib.AsyncExitStack() as stack:
            nodes = [
                await stack.enter_async_context(
                    node_of(box, config, name=name, shared=place.client())
                )
                for name in names
            ]
            await test(*nodes)

    asyncio.run(work())


async def asked(box: Sandbox, provider: str) -> None:
    """Wait until *provider* has got a call."""
    for _ in range(3000):
        if box.journal(provider):
            return
        await asyncio.sleep(0.01)
    raise AssertionError(f"{provider} was not asked")


def is_quarantined(node: Node, provider: str) -> bool:
    standing = node.health.standing(node.key(provider))
    return standing is not None and standing.kind == "quarantined"


# -- a quarantine that got lost


@pytest.mark.parametrize("mode", ["background", "required"])
def test_who_hears_of_the_result_alone_lets_nobody_through(
    box: Sandbox, place: Place, tmp_path: Path, mode: str
) -> None:
    """The other process ended, or lost the store, between its two notes."""

    async def test(one: Node, other: Node) -> None:
        for provider, verdict in (("deepinfra", RIGHT), ("vllm", WRONG)):
            say(one, provider, verdict)
        await one.notes.step()
        await other.notes.step()
        assert not is_quarantined(other, "vllm")
        assert other.out("vllm") == OUT
        assert other.out("deepinfra") is None
        await other.parity.tick()
        assert is_quarantined(other, "vllm")
        assert calls(box) == {}
        await other.notes.step()
        await one.notes.step()
        assert is_quarantined(one, "vllm")

    run(test, box, place, config_file(box, tmp_path, TWO, mode), "one", "other")


def test_a_quarantine_whose_note_is_deleted_or_overwritten_comes_back(
    box: Sandbox, place: Place, tmp_path: Path
) -> None:
    async def test(one: Node, other: Node) -> None:
        say(one, "deepinfra", RIGHT)
        say(one, "vllm", WRONG)
        await one.parity.tick()
        assert is_quarantined(one, "vllm")
        await one.notes.step()
        shared = place.client()
        await shared.put(STANDING + one.key("vllm"), None)
        await shared.close()
        for _ in range(2):
            for node in (one, other):
                await node.notes.step()
                assert node.out("vllm") is not None
                await node.parity.tick()
        await one.notes.step()
        assert is_quarantined(one, "vllm")
        assert is_quarantined(other, "vllm")

    run(test, box, place, config_file(box, tmp_path, TWO), "one", "other")


@pytest.mark.parametrize("how", ["off and on", "out of the file and in"])
def test_no_reload_forgets_a_failed_result(
    box: Sandbox, place: Place, tmp_path: Path, how: str
) -> None:
    async def test(node: Node) -> None:
        say(node, "deepinfra", RIGHT)
        say(node, "vllm", WRONG)
        await node.parity.tick()
        if how == "off and on":
            node.use(config_file(box, tmp_path, TWO, "off"))
            assert node.parity.due() == []
            assert node.out("vllm") is None  # nobody is to judge it
        else:
            node.use(config_file(box, tmp_path, {"g": ("deepinfra",)}))
            await node.parity.tick()
        node.use(config_file(box, tmp_path, TWO, "required"))
        assert OUT in str(node.out("vllm"))
        await node.parity.tick()
        assert is_quarantined(node, "vllm")
        assert calls(box) == {}

    run(test, box, place, config_file(box, tmp_path, TWO, "required"), "one")


# -- an operator's word


def test_an_operator_s_word_holds_in_all_processes_until_the_next_proof(
    box: Sandbox, place: Place, tmp_path: Path
) -> None:
    box.fault("vllm", "other_seed")

    async def test(one: Node, other: Node, later: Node) -> None:
        await one.parity.tick()
        await one.notes.step()
        await other.notes.step()
        assert is_quarantined(other, "vllm")
        one.health.clear(one.key("vllm"))
        for node in (one, other, one):
            await node.notes.step()
        await later.notes.step()
        for node in (one, other, later):
            await node.parity.tick()
            assert node.out("vllm") is None
        assert calls(box) == dict.fromkeys(TWO["g"], 4)
        await other.parity.run([other.key("vllm")])
        assert is_quarantined(other, "vllm")

    run(test, box, place, config_file(box, tmp_path, TWO), "one", "other", "later")


def test_an_operator_s_word_holds_for_who_starts_when_all_have_ended(
    box: Sandbox, place: Place, tmp_path: Path
) -> None:
    """`health uneject` with no process there: nobody else can note what it says of the result."""
    config = config_file(box, tmp_path, TWO)

    async def before(node: Node) -> None:
        say(node, "deepinfra", RIGHT)
        say(node, "vllm", WRONG)

    async def after(node: Node) -> None:
        shared = place.client()
        await waive(shared, node.key("vllm"))
        await waive(shared, node.key("deepinfra"))  # says nothing about who has passed
        await shared.close()
        await node.notes.step()
        await node.parity.tick()
        assert node.out("vllm") is None
        assert [node.result(one).waived for one in TWO["g"]] == [False, True]

    run(before, box, place, config, "before")
    run(after, box, place, config, "after")


def test_no_word_lets_an_unproven_vector_into_a_group_that_requires_proof(
    box: Sandbox, place: Place, tmp_path: Path
) -> None:
    async def test(node: Node) -> None:
        say(node, "deepinfra", RIGHT)
        say(node, "vllm", WRONG)
        await node.parity.tick()
        node.health.clear(node.key("vllm"))
        assert node.out("vllm") == OUT

    run(test, box, place, config_file(box, tmp_path, TWO, "required"), "one")


def test_an_operator_s_pause_is_no_word_about_the_proof(
    box: Sandbox, place: Place, tmp_path: Path
) -> None:
    async def test(node: Node) -> None:
        say(node, "deepinfra", RIGHT)
        node.health.eject(node.key("vllm"), reason="maintenance")
        say(node, "vllm", WRONG)
        await node.parity.tick()
        standing = node.health.standing(node.key("vllm"))
        assert standing is not None
        assert standing.reason == "maintenance"
        node.health.clear(node.key("vllm"))
        assert node.out("vllm") == OUT
        await node.parity.tick()
        assert is_quarantined(node, "vllm")

    run(test, box, place, config_file(box, tmp_path, TWO), "one")


# -- who leads


def test_the_word_of_a_former_leader_does_not_undo_a_newer_one(
    box: Sandbox, place: Place, tmp_path: Path
) -> None:
    async def test(former: Node, leader: Node) -> None:
        say(leader, "vllm", WRONG)
        await leader.notes.step()
        say(former, "vllm", RIGHT, later_s=-100)
        shared = place.client()
        # As one writes that has heard of nothing since.
        await shared.put(RESULT + former.key("vllm"), former.result("vllm").to_json())
        await shared.close()
        for node in (leader, former, leader):
            await node.notes.step()
            assert node.out("vllm") == OUT

    run(test, box, place, config_file(box, tmp_path, TWO), "former", "leader")


def test_what_a_leader_asked_before_its_successor_did_does_not_count(
    box: Sandbox, place: Place, tmp_path: Path
) -> None:
    box.fault("vllm", "slow", delay_s=0.2)

    async def test(former: Node, leader: Node) -> None:
        run_ = asyncio.create_task(former.parity.run([former.key("vllm")], leads=True))
        await asked(box, "vllm")
        say(leader, "vllm", WRONG)
        await leader.notes.step()
        await former.notes.step()
        await run_
        assert former.out("vllm") == OUT
        assert former.result("vllm").by == "leader"

    run(test, box, place, config_file(box, tmp_path, TWO), "former", "leader")


def test_who_has_lost_the_lease_stops_asking(
    box: Sandbox, place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_parity, "_FIRST_S", 0.2)
    box.fault("vllm", "hang")

    async def test(node: Node) -> None:
        other = place.client()
        assert await other.lease("parity", "other", 60)
        readings = await node.parity.run([node.key(one) for one in TWO["g"]], leads=True)
        assert [one.deployment for one in readings.values()] == ["g-deepinfra"]
        assert node.key("vllm") not in node.parity.results
        # The successor has it still, and asks what is left once the lease is its own.
        assert not await node.notes.lease("parity", 60)
        await other.close()

    run(test, box, place, config_file(box, tmp_path, TWO), "one")


def test_a_leader_that_dies_hands_over(
    box: Sandbox, place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_parity, "_LEASE_S", 0.5)
    box.fault("vllm", "hang")

    async def test(dies: Node, takes_over: Node) -> None:
        assert await dies.notes.lease("parity", 0.5)
        asking = asyncio.create_task(dies.parity.run([dies.key("vllm")], leads=True))
        await asked(box, "vllm")
        asking.cancel()
        box.clear("vllm")
        async with asyncio.timeout(20):
            while takes_over.key("vllm") not in takes_over.parity.results:
                await takes_over.parity.tick()
                await asyncio.sleep(0.05)
        assert takes_over.result("vllm").by == "takes over"
        assert all(takes_over.out(one) is None for one in TWO["g"])

    run(test, box, place, config_file(box, tmp_path, TWO, "required"), "dies", "takes over")


# -- out before it was proven


def test_who_was_ejected_before_it_was_proven_is_asked_when_its_time_is_over(
    box: Sandbox, place: Place, tmp_path: Path
) -> None:
    """No request of the group may try it, so without the probe texts it would never come back."""
    now = [0.0]

    async def test(node: Node) -> None:
        now[0] = node.health.clock()
        node.health.clock = lambda: now[0]
        (one,) = node.snapshot.pool["g"]
        for _ in range(3):
            fault = ProviderFault(Fault.SERVER, "as the test says")
            what = Attempt("req", one, None, (), 1, 2)
            await node.health.after(what, Outcome(fault, 0, 0, True, 0.1))
        await node.parity.tick()
        assert calls(box) == {}
        now[0] += 60
        await node.parity.tick()
        assert calls(box) == {"deepinfra": 4}
        assert node.out("deepinfra") is None
        standing = node.health.standing(one.endpoint.key)
        assert standing is not None
        assert standing.kind == "returning"

    config = config_file(box, tmp_path, {"g": ("deepinfra",)}, "required")
    run(test, box, place, config, "one")


def test_a_group_says_why_it_waits_for_its_proof(
    box: Sandbox, place: Place, tmp_path: Path
) -> None:
    terms = {"mode": "required", "tokens_per_day": 10}

    async def test(node: Node) -> None:
        pool = node.snapshot.pool["g"]
        assert node.health.why_none(pool) == "its vectors are not proven yet"
        await node.parity.tick()
        assert calls(box) == {}
        why = "its vectors are not proven yet: the day's tokens of the probes are used up"
        assert node.health.why_none(pool) == why
        assert not node.health.has_anybody("g")

    run(test, box, place, config_file(box, tmp_path, TWO, terms), "one")
