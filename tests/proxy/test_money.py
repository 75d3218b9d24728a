"""Budgets in the real proxy: who pays for a request, who takes over, and what a client is told."""

from __future__ import annotations

import asyncio
import contextlib
import resource
import sys
import time
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest

from plugins._ledger import Amount, Budget, Posting
from plugins._ledger_sqlite import SqliteLedger
from router_config.sandbox import Sandbox
from tests.processes import descendants
from tests.proxy import reference
from tests.proxy.answers import refused
from tests.proxy.budgets import (
    PRICES,
    ask_all,
    billed,
    key_of,
    room,
    rooms,
    text_of,
    wait_for_a_minute_with,
)
from tests.proxy.harness import MASTER_KEY, running
from tests.proxy.house import House, configured

SPLIT = 128  # inputs, in chunks of 32 at siliconflow and nebius


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    folder = tmp_path_factory.mktemp("money")
    names = ["deepinfra", "siliconflow", "nebius", "vllm"]
    settings = {name: {"price": price} for name, price in PRICES.items()}
    with Sandbox(mode="hash", providers=names, settings=settings) as box:
        setup = configured(box, folder)
        environ = {
            **setup.environ,
            "QWEN3_ROUTER_STATE": str(folder / "state"),
            "RECORDED": str(folder / "recorded.jsonl"),
        }
        config = setup.write(folder / "config.yaml")
        asyncio.run(spend_long_ago(folder / "state"))
        with running(config, folder / "proxy.log", environ=environ) as proxy:
            yield House(proxy, box, folder / "state", folder / "recorded.jsonl")
            printed = proxy.log()
            assert "deployment_hook error" not in printed  # LiteLLM goes on over a bug in ours
            assert "never retrieved" not in printed


@pytest.fixture(autouse=True)
def _no_faults(house: House) -> None:
    house.box.reset()


def served_by(replies: list[httpx.Response]) -> Counter[str]:
    assert [one.status_code for one in replies] == [200] * len(replies)
    return Counter(one.headers["x-router-deployment"] for one in replies)


# -- free first


def test_a_free_quota_is_used_to_the_last_call_that_fits(house: House) -> None:
    got = [house.ask("free-first", text_of(20, i)) for i in range(8)]
    order = [one.headers["x-router-deployment"] for one in got]
    assert order == ["free-first--deepinfra"] * 5 + ["free-first--nebius"] * 3
    assert {one.headers["x-router-attempts"] for one in got} == {"1"}
    # Four tokens are left: a text of two, held as three, still fits.
    last = house.ask("free-first", "Hi")
    assert last.headers["x-router-deployment"] == "free-first--deepinfra"
    assert room(house.state, "free-tokens").spent.tokens == 102
    assert billed(house.box, "deepinfra").tokens == 102
    paid = billed(house.box, "nebius")
    assert paid.nano_usd == 3 * 20 * 30  # model_info.input_cost_per_token
    assert room(house.state, "paid-usd").spent == Amount(paid.nano_usd, 60, 3)


def test_a_free_credit_in_dollars_is_used_to_the_last_call_that_fits(house: House) -> None:
    got = [house.ask("free-usd", text_of(50, i)) for i in range(5)]
    assert served_by(got) == {"free-usd--siliconflow": 3, "free-usd--vllm": 2}
    assert room(house.state, "free-usd").spent.nano_usd == 6000  # the catalogue's $0.04
    assert billed(house.box, "siliconflow").nano_usd == 6000


def test_one_endpoint_stands_behind_a_free_and_a_paid_deployment(house: House) -> None:
    bodies = [{"model": "twins", "input": text_of(20, i), "dimensions": 32} for i in range(40)]
    got = asyncio.run(ask_all([house.proxy.base], bodies, key=key_of("anyone")))
    used = served_by([one for one in got if one is not None])
    assert sum(used.values()) == 40
    assert 7 <= used["twin-free"] <= 9
    assert billed(house.box, "deepinfra", "twin").tokens == 40 * 20
    assert room(house.state, "twin-free").spent.tokens == used["twin-free"] * 20
    assert room(house.state, "twin-paid").spent.nano_usd == used["twin-paid"] * 200


def test_a_budget_of_all_deployments_used_up_is_a_503_and_costs_nothing(house: House) -> None:
    got = [house.ask("dear", text_of(100, i)) for i in range(3)]  # held at 3,090 each
    assert [one.status_code for one in got] == [200, 200, 503]
    message = refused(got[2], 503, "no_deployment_available", retry=True)
    assert message == "No deployment of dear can be used now: the budgets have no room."
    assert room(house.state, "dear").spent.nano_usd == 6000
    assert billed(house.box, "nebius").calls == 2


# -- split requests


@pytest.mark.parametrize("group", ["halves", "half-twins"])
def test_chunks_without_room_go_on_and_nothing_is_paid_twice(house: House, group: str) -> None:
    texts = [text_of(8, i) for i in range(SPLIT)]  # a chunk is 256 tokens, held as 293
    got = house.ask(group, texts)
    first, second = {
        "halves": ("halves--siliconflow", "halves--nebius"),
        "half-twins": ("half-free", "half-paid"),
    }[group]
    assert got.headers["x-router-deployment"] == f"{first},{second}"
    difference = reference.rows(got) - reference.expected(texts, 32)
    assert abs(difference).max() <= reference.TOLERANCE
    sent = [
        digest
        for provider in ("siliconflow", "nebius")
        for entry in house.box.journal(provider)
        for digest in entry["sha256"]
    ]
    assert sorted(sent) == sorted(map(reference.sha256, texts))
    budget = room(house.state, "half" if group == "halves" else "half-free")
    rest = room(house.state, f"deployment:{second}")
    assert (budget.spent.tokens, rest.spent.tokens) == (256, 768)
    paid = billed(house.box, "siliconflow").nano_usd + billed(house.box, "nebius").nano_usd
    assert budget.spent.nano_usd + rest.spent.nano_usd == paid
    house.assert_cost(got, paid)


# -- what did not happen costs nothing


@pytest.mark.parametrize(
    "fields",
    [
        {"dimensions": 31},
        {"input": ["good", ""]},
        {"input": "word " * 40_000},
        {"input": [[1, 2, 3]]},
        {"encoding_format": "hex"},
    ],
)
def test_a_request_at_fault_costs_nothing(house: House, fields: dict[str, Any]) -> None:
    before = rooms(house.state)
    reply = house.proxy.post({"model": "metered", "input": "x", **fields}, key=key_of("anyone"))
    assert reply.status_code == 400
    after = rooms(house.state)
    assert {n: (r.spent, r.held) for n, r in after.items()} == {
        n: (r.spent, r.held) for n, r in before.items()
    }
    assert billed(house.box, "deepinfra").calls == 0


def test_a_provider_that_refused_or_was_not_reached_is_not_paid(house: House) -> None:
    house.ask("metered", text_of(20))
    spent = room(house.state, "deployment:metered--deepinfra").spent
    house.box.fault("deepinfra", "rate_limited", times=1)
    assert house.ask("metered", text_of(20)).status_code == 503
    refused = room(house.state, "deployment:metered--deepinfra")
    assert (refused.spent, refused.held) == (spent + Amount(0, 0, 1), Amount())
    house.box.down("deepinfra")
    # This one may still go out over a connection that was kept, and then nobody knows its outcome.
    assert house.ask("metered", text_of(20)).status_code == 503
    before = room(house.state, "deployment:metered--deepinfra")
    assert house.ask("metered", text_of(20)).status_code == 503
    house.box.up("deepinfra")
    now = room(house.state, "deployment:metered--deepinfra")
    assert now.spent + now.held == before.spent + before.held


# -- consumers


def out_of_budget(reply: httpx.Response, whose: str, resets: bool) -> None:
    message = refused(reply, 429, "budget_exceeded")
    assert message.startswith(f"The budget of {whose} has no room for this request.")
    if not resets:
        assert "x-router-resets-at" not in reply.headers
        assert message.endswith("It does not start again by itself.")
        return
    at = datetime.strptime(reply.headers["x-router-resets-at"], "%Y-%m-%dT%H:%M:%SZ")
    at = at.replace(tzinfo=UTC)
    assert at > datetime.now(UTC)
    assert (at.hour, at.minute, at.second) == (0, 0, 0)
    assert message.endswith(f"It starts again at {reply.headers['x-router-resets-at']}.")


CONSUMERS: dict[str, tuple[str, tuple[str, ...], str, str, bool]] = {
    # name of the row: model, keys in turn, whose, unit
    "key:few-dollars": ("metered", (key_of("few-dollars"),), "this key", "nano_usd", True),
    "key:wild-1": ("metered", (key_of("wild-1"),), "this key", "tokens", True),
    "team:crew": ("metered", (key_of("mate-1"), key_of("mate-2")), "this team", "tokens", False),
    "user:default_user_id": ("metered", (MASTER_KEY,), "this user", "tokens", True),
    "group:small-group": ("small-group", (key_of("anyone"),), "this model", "tokens", True),
}


@pytest.mark.parametrize("name", CONSUMERS)
def test_a_client_out_of_budget_is_told_so_and_costs_nothing(house: House, name: str) -> None:
    model, given, whose, unit, resets = CONSUMERS[name]
    got = [house.ask(model, text_of(20, i), key=given[i % len(given)]) for i in range(4)]
    fits = 5 if unit == "nano_usd" else 2
    if unit == "nano_usd":
        got += [house.ask(model, text_of(20, i), key=given[0]) for i in range(4, 7)]
    assert [one.status_code for one in got] == [200] * fits + [429] * (len(got) - fits)
    for reply in got[fits:]:
        out_of_budget(reply, whose, resets)
        assert reply.headers["x-router-attempts"] == "0"
    calls = billed(house.box, "deepinfra").calls + billed(house.box, "vllm").calls
    assert calls == fits
    spent = room(house.state, name).spent
    assert (spent.tokens, spent.requests) == (fits * 20, fits)


@pytest.mark.parametrize("whose", ["", "plain-"], ids=["ours", "plain"])
def test_a_request_that_falls_back_is_paid_by_both_groups(house: House, whose: str) -> None:
    """A fallback group without room is passed over; the asked group without room is the end."""
    asked, behind = f"{whose}asked", f"{whose}behind"
    got = [house.ask(asked, text_of(20, i)) for i in range(7)]
    assert [one.status_code for one in got] == [200] * 6 + [429]
    assert served_by(got[:6]) == {f"{asked}--deepinfra": 1, f"{behind}--nebius": 2, "last--vllm": 3}
    out_of_budget(got[6], "this model", resets=False)
    spent = {name: one.spent.tokens for name, one in rooms(house.state).items()}
    assert (spent[f"group:{asked}"], spent[f"group:{behind}"]) == (120, 40)


def test_every_key_of_a_wildcard_has_a_budget_of_its_own(house: House) -> None:
    first = [house.ask("metered", text_of(20, i), key=key_of("wild-2")) for i in range(3)]
    assert [one.status_code for one in first] == [200, 200, 429]
    assert house.ask("metered", text_of(20), key=key_of("anyone")).status_code == 200
    assert room(house.state, "key:wild-2").budget.tokens == 50


def test_the_openai_client_does_not_retry_a_budget_that_is_used_up(house: House) -> None:
    sent: list[Any] = []
    http = openai.DefaultHttpxClient(event_hooks={"request": [sent.append]}, trust_env=False)
    with openai.OpenAI(
        base_url=f"{house.proxy.base}/v1", api_key=key_of("sdk"), http_client=http
    ) as client:
        assert client.max_retries > 0
        for i in range(2):
            client.embeddings.create(model="metered", input=text_of(20, i))
        with pytest.raises(openai.RateLimitError) as caught:
            client.embeddings.create(model="metered", input=text_of(20))
    assert (caught.value.code, len(sent)) == ("budget_exceeded", 3)


# -- quotas


def test_requests_a_minute_of_a_deployment_send_the_rest_to_the_next(house: House) -> None:
    wait_for_a_minute_with(8)
    got = [house.ask("counted", text_of(20, i)) for i in range(6)]
    assert served_by(got) == {"counted--deepinfra": 3, "counted--vllm": 3}
    assert {one.headers["x-router-attempts"] for one in got} == {"1"}


def test_tokens_a_minute_of_a_deployment_send_the_rest_to_the_next(house: House) -> None:
    wait_for_a_minute_with(8)
    got = [house.ask("weighed", text_of(30, i)) for i in range(6)]  # held as 31
    assert served_by(got) == {"weighed--deepinfra": 3, "weighed--vllm": 3}


def test_tokens_a_minute_of_a_key_are_a_429_that_may_be_retried(house: House) -> None:
    wait_for_a_minute_with(8)
    got = [house.ask("own", text_of(20, i), key=key_of("light")) for i in range(2)]
    assert [one.status_code for one in got] == [200, 429]
    refused(got[1], 429, "rate_limited", retry=True)
    assert 1 <= int(got[1].headers["retry-after"]) <= 60


# -- deployments that LiteLLM calls itself


def test_a_plain_deployment_is_booked_at_its_price(house: House) -> None:
    got = house.ask("plain", [text_of(20, i) for i in range(3)])
    paid = billed(house.box, "nebius", "plain--nebius")
    assert paid.nano_usd == 60 * 30
    assert room(house.state, "plain").spent == Amount(1800, 60, 1)
    house.assert_cost(got, 1800)


@pytest.mark.parametrize("kind", ["reset_before_answer", "hang"])
def test_a_plain_call_of_unknown_outcome_counts_as_spent(house: House, kind: str) -> None:
    before = room(house.state, "plain")
    house.box.fault("nebius", kind, billed=True)
    assert house.ask("plain", text_of(20)).status_code == 503
    now = room(house.state, "plain")
    used = now.spent + now.held - before.spent - before.held
    assert used == Amount(21 * 30, 21, 1)


def test_a_plain_deployment_without_room_is_left_for_the_next(house: House) -> None:
    got = [house.ask("plain-then-ours", text_of(20, i)) for i in range(8)]
    assert served_by(got) == {"plain-then-ours--deepinfra": 5, "plain-then-ours--vllm": 3}
    assert room(house.state, "plain-first").spent.tokens == 100


# -- what LiteLLM is told


def test_the_cost_of_a_request_is_what_was_settled(house: House) -> None:
    got = house.ask("metered", text_of(77))
    assert billed(house.box, "deepinfra").nano_usd == 770
    house.assert_cost(got, 770)


def test_the_cost_of_a_request_in_parts_is_told_once_and_as_a_whole(house: House) -> None:
    texts = [text_of(8, i) for i in range(SPLIT)]
    got = house.ask("plain-last", texts)
    assert got.headers["x-router-deployment"] == "plain-last--siliconflow,plain-last--nebius"
    paid = billed(house.box, "siliconflow").nano_usd + billed(house.box, "nebius").nano_usd
    assert paid == 256 * 40 + 768 * 30
    house.assert_cost(got, paid)


# -- between requests


OLD = Budget("long-ago", "lifetime", tokens=1000)


async def spend_long_ago(state: Path) -> None:
    """Leave postings of three days of a month ago in the ledger, before the proxy starts."""
    at = time.time() - 33 * 86_400
    ledger = SqliteLedger(state / "ledger.db", wall=lambda: at)
    await ledger.define([OLD])
    for _ in range(30):
        await ledger.settle(await ledger.reserve([OLD.name], Amount(tokens=9), 60), Amount(0, 7, 1))
        at += 8640
    await ledger.close()


def test_the_running_proxy_adds_old_postings_up_by_day(house: House) -> None:
    async def postings() -> list[Posting]:
        ledger = SqliteLedger(house.state / "ledger.db")
        try:
            assert await ledger.check() == []
            return await ledger.postings(budget=OLD.name)
        finally:
            await ledger.close()

    ends = time.monotonic() + 60
    found = asyncio.run(postings())
    while any(one.kind != "folded" for one in found):
        assert time.monotonic() < ends
        time.sleep(0.5)
        found = asyncio.run(postings())
    assert 3 <= len(found) <= 4
    assert sum((one.amount for one in found), Amount()) == Amount(0, 30 * 7, 30)
    assert room(house.state, OLD.name).spent == Amount(0, 30 * 7, 30)


# -- the disk is full


@pytest.mark.skipif(sys.platform != "linux", reason="another process's limits are Linux's")
def test_a_full_disk_refuses_what_costs_money_and_loses_nothing(house: House) -> None:
    spent = 0
    for i in range(5):
        spent += 200 * (house.ask("full-disk", text_of(20, i)).status_code == 200)
    with full_disk(house):
        started = time.monotonic()
        got = [house.ask("full-disk", text_of(20, i), key=key_of("anyone")) for i in range(3)]
        print(f"\nthree refusals on a full disk: {time.monotonic() - started:.2f} s")
        for reply in got:
            refused(reply, 503, "ledger_unavailable", retry=True)
        behind = house.ask("own-behind", text_of(20))
        assert behind.headers["x-router-deployment"] == "own-behind--vllm"
        assert house.ask("own", text_of(20)).status_code == 200
        assert billed(house.box, "deepinfra").calls == 5
    ends = time.monotonic() + 60
    while (reply := house.ask("full-disk", text_of(20))).status_code != 200:
        assert time.monotonic() < ends
        time.sleep(0.2)
    spent += 200
    assert billed(house.box, "deepinfra").nano_usd == spent
    assert room(house.state, "disk").spent.nano_usd == spent


@contextlib.contextmanager
def full_disk(house: House) -> Iterator[None]:
    """Let no file of the proxy grow."""
    pid = house.proxy.process.pid
    sizes = [path.stat().st_size for path in house.state.glob("ledger.db*")]
    small = (min(4096, *sizes), resource.RLIM_INFINITY)
    # SQLite's writer is a process of its own.
    before = {
        one: resource.prlimit(one, resource.RLIMIT_FSIZE, small) for one in (pid, *descendants(pid))
    }
    try:
        yield
    finally:
        for one, limits in before.items():
            resource.prlimit(one, resource.RLIMIT_FSIZE, limits)
