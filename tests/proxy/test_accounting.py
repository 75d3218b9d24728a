"""LiteLLM's books: a callback that looks on is told the same of the fast path as of LiteLLM's own.

One proxy with such a callback serves both paths; `x-router-path: litellm` chooses. In the full size
a second one, with the gateway off, serves the other half of the thousands.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from plugins._ledger import Posting
from plugins._ledger_sqlite import SqliteLedger
from router_config.sandbox import Sandbox
from tests.proxy import configs
from tests.proxy.configs import KEYS, pair, solo
from tests.proxy.harness import MASTER_KEY, Proxy, running
from tests.sizes import FULL, size

LONG_WAY = {"x-router-path": "litellm"}
EVERY_TIME_NEW = ("call", "seconds")
SITUATIONS: dict[str, tuple[dict[str, Any], str | None]] = {
    "success": ({"model": solo("deepinfra")}, None),
    "three texts": ({"model": solo("nebius"), "input": ["a", "b", "c"]}, None),
    "a user": ({"model": solo("deepinfra"), "user": "someone"}, None),
    "a sibling takes over": ({"model": pair("deepinfra")}, "deepinfra"),
    "a fallback group takes over": ({"model": "with-fallback"}, "deepinfra"),
    "nobody is left": ({"model": solo("deepinfra")}, "deepinfra"),
    "refused": ({"model": solo("deepinfra"), "dimensions": 7}, None),
}


class Books:
    """What the onlooker of one proxy has written."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def lines(self) -> list[dict[str, Any]]:
        """Return every line so far."""
        return [json.loads(line) for line in self._path.read_text().splitlines()]

    def of(self, call: str, least: int) -> list[dict[str, Any]]:
        """Return the lines of one call, once there are *least* of them and no more come."""
        ends = time.monotonic() + 60
        while time.monotonic() < ends:
            found = [one for one in self.lines() if one["call"] == call]
            if len(found) >= least:
                break
            time.sleep(0.05)
        time.sleep(0.2)
        return [one for one in self.lines() if one["call"] == call]


@dataclass(frozen=True)
class Watched:
    """A proxy, what its onlooker was told, and where its ledger is."""

    proxy: Proxy
    books: Books
    state: Path

    def postings(self) -> list[Posting]:
        """Return what the ledger has booked on the accounts, once nothing is held any more."""
        return asyncio.run(self._postings())

    async def _postings(self) -> list[Posting]:
        ledger = SqliteLedger(self.state / "ledger.db")
        try:
            ends = time.monotonic() + 30
            while any(one.held.tokens for one in await ledger.rooms()):
                assert time.monotonic() < ends
                await asyncio.sleep(0.2)
                await ledger.sweep()
            assert await ledger.check() == []
            return [
                posting
                for one in ACCOUNTS
                for posting in await ledger.postings(budget=f"account-{one}", limit=100_000)
            ]
        finally:
            await ledger.close()


ACCOUNTS = ("deepinfra", "nebius", "vllm", "openai")


@contextmanager
def watching(box: Sandbox, folder: Path, *, fast: bool) -> Iterator[Watched]:
    """Start a proxy whose config names a foreign callback that looks on."""
    config = yaml.safe_load(configs.write(box, folder / "config.yaml").read_text())
    config["litellm_settings"]["callbacks"].append("tests.proxy.onlooker.handler")
    section = config["embedding_router"]
    section["gateway"]["enabled"] = fast
    section["budgets"] = {f"account-{one}": {"usd": 5, "period": "month"} for one in ACCOUNTS}
    for entry in config["model_list"]:
        provider = entry["litellm_params"]["model"].removeprefix("qwen3/")
        if provider in ACCOUNTS:
            entry["model_info"]["budget"] = f"account-{provider}"
    path = folder / "watched.yaml"
    path.write_text(yaml.safe_dump(config, sort_keys=False))
    book = folder / "book.jsonl"
    book.touch()
    state = {"ONLOOKER_FILE": str(book), "QWEN3_ROUTER_STATE": str(folder)}
    with running(path, folder / "proxy.log", environ={**configs.environ(box), **state}) as proxy:
        yield Watched(proxy, Books(book), folder)


@pytest.fixture(scope="module")
def both(sandbox: Sandbox, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    with watching(sandbox, tmp_path_factory.mktemp("onlooker"), fast=True) as found:
        yield found


@pytest.fixture(scope="module")
def watched(both: Watched) -> tuple[Proxy, Books]:
    return both.proxy, both.books


def ask(
    proxy: Proxy, body: dict[str, Any], call: str, headers: dict[str, str], **more: Any
) -> httpx.Response:
    sent = {"input": "x", "dimensions": 32, **body}
    return proxy.post(sent, headers={"x-litellm-call-id": call, **headers}, **more)


def without(lines: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return sorted(
        ({k: v for k, v in one.items() if k not in EVERY_TIME_NEW} for one in lines),
        key=lambda one: json.dumps(one, sort_keys=True),
    )


@pytest.mark.parametrize("name", SITUATIONS)
def test_an_onlooker_is_told_the_same_on_both_paths(
    watched: tuple[Proxy, Books], box: Sandbox, name: str
) -> None:
    proxy, books = watched
    body, broken = SITUATIONS[name]
    told, replies = [], []
    for path, headers in (("fast", {}), ("long", LONG_WAY)):
        box.reset()
        if broken is not None:
            box.fault(broken, "status", times=1)
        call = f"{name}-{path}".replace(" ", "-")
        replies.append(ask(proxy, body, call, headers))
        told.append(books.of(call, 0 if name == "refused" else 1))
    fast, long = replies
    assert (fast.status_code, fast.content) == (long.status_code, long.content)
    assert without(told[0]) == without(told[1])
    assert all(one["vectors"] == 0 for one in told[0])


def test_the_fast_path_serves_although_somebody_looks_on(
    watched: tuple[Proxy, Books], box: Sandbox
) -> None:
    proxy, _ = watched
    reply = ask(proxy, {"model": solo("vllm")}, "who-serves", {})
    assert "x-litellm-callback-duration-ms" not in reply.headers


def test_the_time_of_a_call_is_told_as_it_was(watched: tuple[Proxy, Books], box: Sandbox) -> None:
    proxy, books = watched
    box.fault("deepinfra", "slow", delay_s=0.5)
    ask(proxy, {"model": solo("deepinfra")}, "slow", {})
    assert [0.45 < one["seconds"] < 5 for one in books.of("slow", 1)] == [True]


def test_the_key_and_its_team_are_told(watched: tuple[Proxy, Books], box: Sandbox) -> None:
    proxy, books = watched
    ask(proxy, {"model": solo("vllm")}, "of-a-key", {}, key=KEYS["search"])
    told = books.of("of-a-key", 1)
    assert [(one["alias"], one["team"]) for one in told] == [("search", "search")]


# -- many calls, and what they cost

# Model, the fault that befalls it, and whose key asks where there is one proxy for each path.
MANY: list[tuple[dict[str, Any], tuple[str, str] | None, str]] = [
    ({"model": solo("deepinfra")}, None, "master"),
    ({"model": solo("nebius"), "input": ["one", "two", "three"]}, None, "master"),
    ({"model": solo("vllm")}, None, "search"),
    ({"model": solo("openai")}, None, "search-next"),
    ({"model": solo("nebius"), "user": "someone"}, None, "master"),
    ({"model": solo("deepinfra"), "encoding_format": "base64"}, None, "master"),
    ({"model": pair("deepinfra")}, ("deepinfra", "status"), "master"),
    ({"model": pair("nebius")}, ("nebius", "nan_null"), "master"),  # billed all the same
    ({"model": pair("deepinfra")}, ("deepinfra", "reset_before_answer"), "master"),  # expires
    ({"model": "with-fallback"}, ("deepinfra", "status"), "master"),
    ({"model": solo("deepinfra")}, ("deepinfra", "status"), "master"),
    ({"model": solo("deepinfra"), "dimensions": 7}, None, "master"),
]


def test_many_calls_are_told_alike_and_add_up_to_the_ledger(
    both: Watched, sandbox: Sandbox, tmp_path_factory: pytest.TempPathFactory
) -> None:
    n = size(len(MANY), 1_000)
    if not FULL:
        sides = [_many(both, sandbox, n, "fast", {}), _many(both, sandbox, n, "long", LONG_WAY)]
    else:
        sides = [_many(both, sandbox, n, "fast", None)]
        with watching(sandbox, tmp_path_factory.mktemp("off"), fast=False) as off:
            sides.append(_many(off, sandbox, n, "long", None))
    (fast, fast_posted), (long, long_posted) = sides
    assert Counter(map(repr, without(fast))) == Counter(map(repr, without(long)))
    assert Counter(fast_posted) == Counter(long_posted)


def _many(
    side: Watched, box: Sandbox, n: int, name: str, headers: dict[str, str] | None
) -> tuple[list[dict[str, Any]], list[tuple[str, str, int, int]]]:
    """Make *n* calls; return what was told of them, and what was posted.

    *headers* choose the path for the master key; None: every key asks, and the proxy has one path.
    """
    before = Counter(side.postings())
    billed, answers = Decimal(0), Counter[int]()
    for i in range(n):
        body, fault, key = MANY[i % len(MANY)]
        box.reset()
        if fault is not None:
            box.fault(*fault, times=1)
        asks = KEYS.get(key, MASTER_KEY) if headers is None else MASTER_KEY
        reply = ask(side.proxy, body, f"many-{name}-{i}", headers or {}, key=asks)
        answers[reply.status_code] += 1
        billed += Decimal(reply.headers.get("x-router-cost-usd", "0"))
    box.reset()
    ends = time.monotonic() + 60
    while True:  # the books are kept behind the replies
        told = [one for one in side.books.lines() if str(one["call"]).startswith(f"many-{name}-")]
        good = [one for one in told if one["event"] == "success"]
        if len(good) >= answers[200] and len({one["call"] for one in told}) >= n - answers[400]:
            break
        assert time.monotonic() < ends, (len(told), answers)
        time.sleep(0.1)
    time.sleep(0.5)  # no more come
    told = [one for one in side.books.lines() if str(one["call"]).startswith(f"many-{name}-")]
    assert len(good) == answers[200]
    posted = list((Counter(side.postings()) - before).elements())
    settled = sum(one.amount.nano_usd for one in posted if one.kind == "settlement")
    expired = sum(one.amount.nano_usd for one in posted if one.kind == "expiry")
    noted = sum(Decimal(str(one["cost"])) for one in good)
    print(
        f"\n{name}: {n} calls, answers {dict(answers)}; the ledger settled {settled} nano-dollars "
        f"and let {expired} expire; replies say {billed * 10**9:f}, the callback {noted * 10**9:f}"
    )
    assert abs(noted * 10**9 - settled) <= n
    assert billed * 10**9 == settled
    assert expired > 0
    rows = [(one.row.budget, one.kind, one.amount.nano_usd, one.amount.tokens) for one in posted]
    return told, rows
