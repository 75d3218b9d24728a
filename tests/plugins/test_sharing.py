"""Sharing: a text is asked for once, whoever leads may fail or leave, and nobody waits for ever."""

from __future__ import annotations

import asyncio
import gc
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from types import FunctionType, ModuleType
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from plugins._errors import Unavailable
from plugins._plan import Plan
from plugins._reply import assemble, body, pieces
from plugins._sharing import Sharing
from plugins._standing import Standing
from router_config import Cache as Settings
from router_config import Group
from tests.plugins.plans import candidate, plan

GROUP = Group(name="g", deployments=())
ONE = candidate("one")


def vector(text: str) -> np.ndarray[Any, Any]:
    row = np.random.default_rng(list(text.encode())).standard_normal(4096)
    return (row / np.linalg.norm(row)).astype(np.float32)


class House:
    """Requests that share: *asked* counts how often each text went to a provider."""

    def __init__(self) -> None:
        self.now = 0.0
        self.sharing = Sharing(lambda: self.now)
        self.sharing.use(Settings(max_mb=16))
        self.asked: Counter[str] = Counter()

    def server(
        self, request: Plan, *, turns: int = 1, chunk: int = 99, fails: bool = False
    ) -> Callable[[], Awaitable[None]]:
        """Return what fills *request* chunk by chunk, each after some *turns* of the loop."""

        async def serve() -> None:
            while indices := request.missing()[:chunk]:
                self.asked.update(request.texts[i] for i in indices)
                for _ in range(turns):
                    await asyncio.sleep(0)
                if fails:
                    raise Unavailable(503, "no_deployment_available", "nobody")
                rows = np.stack([vector(request.texts[i]) for i in indices])
                request.accept(indices, rows, ONE, 3 * len(indices), 10)

        return serve

    async def ask(self, request: Plan, *, left: bool = False, **how: Any) -> str:
        share = self.sharing.of(request, GROUP, "r1")
        assert share is not None
        await share.complete(self.server(request, **how), lambda: left)
        assert (request.vectors() == np.stack([vector(text) for text in request.texts])).all()
        return share.header()


def of(texts: Sequence[str], **fields: Any) -> Plan:
    return plan([[ONE]], texts=texts, counts=[3] * len(texts), **fields)


async def all_of(*requests: Awaitable[str]) -> list[str | BaseException]:
    async with asyncio.timeout(60):
        return await asyncio.gather(*requests, return_exceptions=True)


def test_a_known_text_is_not_asked_for_and_costs_nothing() -> None:
    async def main() -> None:
        house = House()
        first, again = of(["a", "b"]), of(["b", "a"])
        assert await house.ask(first) == "MISS"
        assert await house.ask(again) == "HIT"
        assert house.asked == {"a": 1, "b": 1}
        assert (first.tokens, first.cost_nano_usd) == (6, 10)
        assert (again.tokens, again.cost_nano_usd, again.calls) == (0, 0, 0)
        assert again.served_by == ["one"]

    asyncio.run(main())


def test_no_text_is_left_in_memory_once_its_requests_are_over() -> None:
    texts = [f"a confidential text of number {i}" for i in range(40)]

    async def main() -> House:
        house = House()
        asked = [of(texts[:30]), of(texts[10:]), of(texts), of(texts[:3])]
        await all_of(*(house.ask(one) for one in asked[:3]))
        # One that fails, and one whose client has left.
        await all_of(house.ask(of(["a confidential text that fails"]), fails=True, left=True))
        await house.ask(asked[3])
        house.asked.clear()  # this test's own
        return house

    house = asyncio.run(main())
    assert house.sharing.entries() == 40
    reached: dict[int, object] = {}
    coming: list[object] = [house.sharing]
    while coming:
        one = coming.pop()
        if id(one) in reached or isinstance(one, type | ModuleType):
            continue
        reached[id(one)] = one
        # Of a function what it holds; by its globals all of the process would be reached.
        coming += one.__closure__ or () if isinstance(one, FunctionType) else gc.get_referents(one)
    words = [one for one in reached.values() if isinstance(one, str | bytes | bytearray)]
    assert not any("confidential" in one for one in words if isinstance(one, str))
    assert not any(b"confidential" in one for one in words if not isinstance(one, str))


def test_a_part_that_is_known_is_named_in_inputs() -> None:
    async def main() -> None:
        house = House()
        await house.ask(of(["a"]))
        assert await house.ask(of(["a", "a", "b", "c"])) == "PARTIAL 2/4"
        assert house.asked == {"a": 1, "b": 1, "c": 1}

    asyncio.run(main())


def test_a_text_under_way_is_waited_for() -> None:
    async def main() -> None:
        house = House()
        got = await all_of(*(house.ask(of(["a", "b"]), turns=3) for _ in range(50)))
        assert Counter(got) == {"MISS": 1, "HIT": 49}
        assert house.asked == {"a": 1, "b": 1}
        assert len(house.sharing.flights) == 0

    asyncio.run(main())


@pytest.mark.parametrize("encoding", ["float", "base64"])
@pytest.mark.parametrize("dimensions", [32, 1024, 4096])
def test_what_was_printed_before_is_what_would_be_printed_now(
    dimensions: int, encoding: str
) -> None:
    async def main() -> None:
        house = House()
        bodies = []
        for _ in range(4):
            request = of(["a", "b", "a"], dimensions=dimensions)
            object.__setattr__(request.asked, "encoding", encoding)
            share = house.sharing.of(request, GROUP, "r1")
            assert share is not None
            await share.complete(house.server(request), lambda: False)
            written = pieces(request)
            bodies.append(assemble(written, "g", 0))
            share.keep_printed(written)
        assert len(set(bodies)) == 1
        assert request.pieces.keys() == {0, 1}
        assert bodies[0] == body(request)

    asyncio.run(main())


@pytest.mark.parametrize("left", [True, False])
def test_followers_take_over_from_a_leader_that_ends_without_a_vector(left: bool) -> None:
    async def main() -> None:
        house = House()
        leader = house.ask(of(["a"]), fails=True, turns=3, left=left)
        first, *others = await all_of(leader, *(house.ask(of(["a"]), turns=2) for _ in range(9)))
        assert isinstance(first, Unavailable)
        assert set(others) <= {"MISS", "HIT"}
        # A client that left says nothing about the text: one of the nine asks for all. After a
        # failure each asks for itself.
        assert house.asked["a"] == (2 if left else 10)

    asyncio.run(main())


def test_followers_take_over_from_a_cancelled_leader() -> None:
    async def main() -> None:
        house = House()
        leader = asyncio.create_task(house.ask(of(["a", "b"]), turns=1000))
        await asyncio.sleep(0)
        others = asyncio.gather(*(house.ask(of(["b", "a"]), turns=2) for _ in range(9)))
        await asyncio.sleep(0)
        leader.cancel()
        assert Counter(await others) == {"MISS": 1, "HIT": 8}
        assert house.asked == {"a": 2, "b": 2}
        assert len(house.sharing.flights) == 0

    asyncio.run(main())


def test_a_follower_whose_client_leaves_disturbs_nobody() -> None:
    async def main() -> None:
        house = House()
        leader = asyncio.create_task(house.ask(of(["a"]), turns=20))
        await asyncio.sleep(0)
        gone, stays = (asyncio.create_task(house.ask(of(["a"]))) for _ in range(2))
        await asyncio.sleep(0)
        gone.cancel()
        assert (await leader, await stays) == ("MISS", "HIT")
        assert house.asked == {"a": 1}

    asyncio.run(main())


def test_nobody_waits_for_longer_than_half_of_its_time() -> None:
    async def main() -> None:
        house = House()
        leader = asyncio.create_task(house.ask(of(["a"]), turns=10**9))
        await asyncio.sleep(0)
        follower = of(["a"], deadline=0.2)
        assert await house.ask(follower) == "MISS"
        assert house.asked == {"a": 2}
        assert await house.ask(of(["a"])) == "HIT"
        leader.cancel()

    asyncio.run(main())


def test_a_key_of_a_region_neither_finds_nor_follows_what_comes_from_elsewhere() -> None:
    async def main() -> None:
        house = House()  # `ONE` is in the EU
        got = await all_of(
            house.ask(of(["a"]), turns=3),
            house.ask(of(["a"], region="us"), turns=3),
            house.ask(of(["a"], region="us"), turns=3),
        )
        assert got == ["MISS", "MISS", "HIT"]
        assert await house.ask(of(["a"], region="eu")) == "HIT"
        assert await house.ask(of(["a"], region="us")) == "MISS"

    asyncio.run(main())


def test_opting_out_neither_finds_nor_leaves_anything() -> None:
    house = House()
    quiet = of(["a"])
    assert (
        house.sharing.of(replace(quiet, asked=replace(quiet.asked, no_store=True)), GROUP, "r1")
        is None
    )
    assert house.sharing.of(quiet, GROUP.model_copy(update={"cache": False}), "r1") is None
    house.sharing.use(Settings(enabled=False))
    assert house.sharing.of(quiet, GROUP, "r1") is None


def test_another_group_and_another_reference_are_another_space() -> None:
    async def main() -> None:
        house = House()
        await house.ask(of(["a"]))
        for group, space in ((GROUP, "r2"), (GROUP.model_copy(update={"name": "other"}), "r1")):
            share = house.sharing.of(request := of(["a"]), group, space)
            assert share is not None
            await share.complete(house.server(request), lambda: False)
            assert share.header() == "MISS"

    asyncio.run(main())


def test_what_a_quarantined_endpoint_gave_is_asked_for_again() -> None:
    async def main() -> None:
        house = House()
        await house.ask(of(["a"]))
        key = ONE.endpoint.key
        house.sharing.on_standing(
            key, Standing(key, "quarantined", "parity: …", 0.0, None, 0, "me")
        )
        assert await house.ask(of(["a"])) == "MISS"
        assert await house.ask(of(["a"])) == "MISS"
        house.sharing.use(Settings(max_mb=8))  # nor does a reload forgive
        await house.ask(of(["a"]))
        assert await house.ask(of(["a"])) == "MISS"
        house.sharing.on_standing(key, None)
        await house.ask(of(["a"]))
        assert await house.ask(of(["a"])) == "HIT"

    asyncio.run(main())


def test_who_served_one_part_well_may_serve_what_a_leader_left() -> None:
    async def main() -> None:
        house = House()
        leader = asyncio.create_task(house.ask(of(["a"]), turns=1000))
        await asyncio.sleep(0)
        follower = plan([[ONE]], texts=["a", "b"], counts=[3, 3], attempts=1)

        async def serve() -> None:
            candidate = follower.next(lambda: 0.0, 0.0)
            assert candidate is ONE
            follower.begin(candidate)
            await house.server(follower)()
            leader.cancel()

        share = house.sharing.of(follower, GROUP, "r1")
        assert share is not None
        await share.complete(serve, lambda: False)
        assert (follower.rounds, house.asked) == (2, {"a": 2, "b": 1})

    asyncio.run(main())


REQUEST = st.fixed_dictionaries(
    {
        "texts": st.lists(st.sampled_from("abcdefgh"), min_size=1, max_size=6),
        "starts": st.integers(0, 12),
        "turns": st.integers(1, 6),
        "chunk": st.integers(1, 3),
        "end": st.sampled_from(["good", "good", "good", "fails", "left", "cancelled"]),
        "cancel": st.integers(0, 12),
        "region": st.sampled_from([None, None, "eu"]),
    }
)


@given(st.lists(REQUEST, min_size=1, max_size=10))
def test_whatever_overlaps_in_whatever_order_everybody_gets_what_is_due(
    asked: Sequence[dict[str, Any]],
) -> None:
    house = House()

    async def one(how: dict[str, Any]) -> str:
        for _ in range(how["starts"]):
            await asyncio.sleep(0)
        fails = how["end"] in ("fails", "left")
        request = of(how["texts"], region=how["region"])
        asking = house.ask(
            request, turns=how["turns"], chunk=how["chunk"], fails=fails, left=how["end"] == "left"
        )
        if how["end"] != "cancelled":
            return await asking
        task = asyncio.create_task(asking)
        for _ in range(how["cancel"]):
            await asyncio.sleep(0)
        task.cancel()
        return await task

    async def main() -> list[str | BaseException]:
        return await all_of(*map(one, asked))

    got = asyncio.run(main())
    for how, end in zip(asked, got, strict=True):
        if how["end"] == "good":
            assert isinstance(end, str)
        elif not isinstance(end, str):
            wanted = asyncio.CancelledError if how["end"] == "cancelled" else Unavailable
            assert isinstance(end, wanted)
    assert len(house.sharing.flights) == 0
    if all(how["end"] == "good" and how["region"] is None for how in asked):
        assert set(house.asked.values()) == {1}
