"""LiteLLM's books: a callback that looks on is told the same of the fast path as of LiteLLM's own.

One proxy with such a callback serves both paths; `x-router-path: litellm` chooses.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from router_config.sandbox import Sandbox
from tests.proxy import configs
from tests.proxy.configs import KEYS, pair, solo
from tests.proxy.harness import Proxy, running
from tests.sizes import size

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


@pytest.fixture(scope="module")
def watched(
    sandbox: Sandbox, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Proxy, Books]]:
    """A proxy whose config names a foreign callback that looks on."""
    folder: Path = tmp_path_factory.mktemp("onlooker")
    config = yaml.safe_load(configs.write(sandbox, folder / "config.yaml").read_text())
    config["litellm_settings"]["callbacks"].append("tests.proxy.onlooker.handler")
    path = folder / "watched.yaml"
    path.write_text(yaml.safe_dump(config, sort_keys=False))
    book = folder / "book.jsonl"
    book.touch()
    environ = {**configs.environ(sandbox), "ONLOOKER_FILE": str(book)}
    with running(path, folder / "proxy.log", environ=environ) as proxy:
        yield proxy, Books(book)


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


def test_the_books_add_up_to_what_was_billed(watched: tuple[Proxy, Books], box: Sandbox) -> None:
    proxy, books = watched
    n = size(40, 1000)
    box.fault("deepinfra", "status", times=n // 10)
    replies = [ask(proxy, {"model": pair("deepinfra")}, f"sum-{i}", {}) for i in range(n)]
    assert {one.status_code for one in replies} == {200}
    books.of(f"sum-{n - 1}", 1)
    told = [one for one in books.lines() if str(one["call"]).startswith("sum-")]
    good = [one for one in told if one["event"] == "success"]
    assert len(good) == n
    billed = sum(Decimal(one.headers["x-router-cost-usd"]) for one in replies)
    noted = sum(Decimal(str(one["cost"])) for one in good)
    assert abs(billed - noted) <= n * Decimal("1e-9")
