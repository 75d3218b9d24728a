"""A running proxy takes a changed file without losing a request, or keeps the old one."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from router_config.cli import main
from router_config.sandbox import Sandbox
from tests.proxy.budgets import room
from tests.proxy.harness import MASTER_KEY, PLAIN, Proxy, running
from tests.sizes import size
from tests.wiring import wiring

GROUP = "qwen3-embedding-8b"
BODY: dict[str, Any] = {"model": GROUP, "input": "text", "dimensions": 32}
WAIT_S = 60.0


class House:
    """A proxy of two deployments and the file that it runs on."""

    def __init__(self, box: Sandbox, folder: Path) -> None:
        self.box = box
        self.file = folder / "config.yaml"
        self.environ = {
            "A_API_KEY": box.keys["deepinfra"],
            "B_API_KEY": box.keys["nebius"],
            "QWEN3_ROUTER_STATE": str(folder / "state"),
        }
        self.first = "a"
        self.write()

    def data(self, **section: Any) -> dict[str, Any]:
        entries = [
            {
                "model_name": GROUP,
                "litellm_params": {
                    "model": f"qwen3/{provider}",
                    "api_base": self.box.bases[provider],
                    "api_key": f"os.environ/{id_.upper()}_API_KEY",
                    "order": 1 if id_ == self.first else 2,
                },
                # Whoever is first is cheap: an order and a price that do not belong together show.
                "model_info": {
                    "id": id_,
                    "mode": "embedding",
                    "input_cost_per_token": 1e-8 if id_ == self.first else 5e-8,
                },
            }
            for id_, provider in (("a", "deepinfra"), ("b", "nebius"))
        ]
        return {
            "model_list": entries,
            **wiring("gateway", "matryoshka"),
            "embedding_router": {
                "attempts": 2,
                "cache": {"enabled": False},
                "parity": "off",
                **section,
            },
        }

    def write(self, data: dict[str, Any] | None = None) -> None:
        """Put the file in place at once, as a good editor does."""
        text = yaml.safe_dump(data or self.data(), sort_keys=False)
        part = self.file.with_suffix(".part")
        part.write_text(text)
        part.replace(self.file)

    def put_first(self, id_: str) -> None:
        self.first = id_
        self.write()


@pytest.fixture(scope="module")
def house(sandbox: Sandbox, tmp_path_factory: pytest.TempPathFactory) -> House:
    return House(sandbox, tmp_path_factory.mktemp("reload"))


@pytest.fixture(scope="module")
def proxy(house: House) -> Iterator[Proxy]:
    folder = house.file.parent
    with running(house.file, folder / "proxy.log", environ=house.environ) as process:
        yield process


@pytest.fixture(autouse=True)
def settled(house: House, proxy: Proxy, box: Sandbox) -> None:
    house.put_first("a")
    assert comes(lambda: served_by(proxy) == "a")


def served_by(proxy: Proxy, **fields: Any) -> str:
    reply = proxy.post({**BODY, **fields})
    assert reply.status_code == 200, reply.text
    return reply.headers["x-router-deployment"]


def comes(holds: Any) -> bool:
    ends = time.monotonic() + WAIT_S
    while time.monotonic() < ends:
        if holds():
            return True
        time.sleep(0.1)
    return False


def test_two_orders_that_swap_are_seen_by_the_next_request(house: House, proxy: Proxy) -> None:
    house.put_first("b")
    assert comes(lambda: served_by(proxy) == "b")


def test_a_hangup_takes_the_file_at_once(house: House, proxy: Proxy) -> None:
    house.put_first("b")
    os.kill(proxy.process.pid, signal.SIGHUP)
    assert comes(lambda: served_by(proxy) == "b")
    assert proxy.process.poll() is None


def test_the_command_waits_for_the_word_of_the_proxy(
    house: House,
    proxy: Proxy,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("QWEN3_ROUTER_STATE", house.environ["QWEN3_ROUTER_STATE"])
    command = ["reload", "--config", str(house.file)]
    house.put_first("b")
    assert main(command) == 0
    assert "is in force" in capsys.readouterr().out
    assert served_by(proxy) == "b"  # at once: the word was waited for

    house.first = "a"
    data = house.data()
    data["general_settings"]["max_parallel_requests"] = 7
    house.write(data)
    assert main(command) == 1
    assert "not taken, restart needed" in capsys.readouterr().out
    house.file.write_text("model_list: 7")
    assert main(command) == 1
    assert "nobody was asked" in capsys.readouterr().err
    assert served_by(proxy) == "b"


def test_the_command_says_when_nobody_is_there(
    house: House,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("QWEN3_ROUTER_STATE", str(tmp_path))
    assert main(["reload", "--config", str(house.file)]) == 1
    assert "no running proxy" in capsys.readouterr().err


def test_a_typo_changes_nothing_and_the_log_names_its_line(house: House, proxy: Proxy) -> None:
    house.first = "b"
    data = house.data()
    data["embedding_router"]["atempts"] = 3
    before = len(proxy.log())
    house.write(data)
    assert comes(lambda: 'did you mean "attempts"' in proxy.log()[before:])
    said = proxy.log()[before:]
    assert "config.yaml:" in said
    assert "embedding_router.atempts" in said
    assert served_by(proxy) == "a"


def test_what_needs_a_start_changes_nothing_and_is_said(house: House, proxy: Proxy) -> None:
    house.first = "b"
    data = house.data()
    data["general_settings"]["max_parallel_requests"] = 7
    before = len(proxy.log())
    house.write(data)
    assert comes(lambda: "restart needed" in proxy.log()[before:])
    assert "general_settings has changed" in proxy.log()[before:]
    assert served_by(proxy) == "a"


def test_a_request_in_flight_ends_on_the_file_that_it_began_with(
    house: House, proxy: Proxy, box: Sandbox
) -> None:
    box.fault("deepinfra", "status", status=503, delay_s=4.0, times=1)
    found: list[str] = []
    asking = threading.Thread(target=lambda: found.append(served_by(proxy)))
    asking.start()
    assert comes(lambda: box.journal("deepinfra"))
    data = house.data()
    data["model_list"] = data["model_list"][:1]  # b, which is its second choice, is gone
    house.write(data)
    before = len(proxy.log())
    os.kill(proxy.process.pid, signal.SIGHUP)
    assert comes(lambda: "is in force" in proxy.log()[before:])
    asking.join()
    assert found == ["b"]


def test_a_new_deployment_a_new_group_and_a_new_limit_hold(house: House, proxy: Proxy) -> None:
    data = house.data(budgets={"tiny": {"tokens": 1, "period": "lifetime"}})
    third = {**data["model_list"][0], "model_name": "qwen3-embedding-8b-new"}
    third["model_info"] = {"id": "c", "mode": "embedding"}
    data["model_list"].append(third)
    data["model_list"][0]["model_info"]["budget"] = "tiny"
    house.write(data)
    assert comes(lambda: proxy.post({**BODY, "model": third["model_name"]}).status_code == 200)
    assert served_by(proxy) == "b"  # a has no room any more
    names = [one["id"] for one in proxy.get("/v1/models").json()["data"]]
    assert sorted(names) == [GROUP, "qwen3-embedding-8b-new"]
    house.write()
    assert comes(lambda: proxy.post({**BODY, "model": third["model_name"]}).status_code == 404)


def test_a_reload_that_litellm_refuses_changes_no_limit(house: House, proxy: Proxy) -> None:
    """LiteLLM judges a deployment last of all, and others may share the ledger."""
    state = Path(house.environ["QWEN3_ROUTER_STATE"])

    def written(tokens: int, **params: object) -> str:
        data = house.data(budgets={"kept": {"tokens": tokens, "period": "lifetime"}})
        data["model_list"][0]["model_info"]["budget"] = "kept"
        data["model_list"][0]["litellm_params"].update(params)
        before = len(proxy.log())
        house.write(data)
        assert comes(lambda: "configuration" in proxy.log()[before:])
        return proxy.log()[before:]

    assert "is in force" in written(100_000)
    assert comes(lambda: room(state, "kept").budget.tokens == 100_000)
    assert "is not taken, it cannot be put in force" in written(7, max_retries="many")
    assert served_by(proxy) == "a"
    assert room(state, "kept").budget.tokens == 100_000


def test_many_reloads_under_load_lose_nothing(house: House, proxy: Proxy) -> None:
    stop = threading.Event()
    seen: Counter[str] = Counter()
    wrong: list[str] = []
    costs: set[str] = set()

    def ask() -> None:
        due = time.monotonic()  # ten a second each, however long a reply takes
        with httpx.Client(**PLAIN, timeout=60) as client:
            while not stop.is_set():
                due += 0.1
                time.sleep(max(0.0, due - time.monotonic()))
                reply = client.post(
                    f"{proxy.base}/v1/embeddings",
                    json=BODY,
                    headers={"authorization": f"Bearer {MASTER_KEY}"},
                )
                if reply.status_code != 200:
                    wrong.append(f"{reply.status_code} {reply.text}")
                    continue
                seen[reply.headers["x-router-deployment"]] += 1
                costs.add(reply.headers["x-router-cost-usd"])

    workers = [threading.Thread(target=ask) for _ in range(5)]
    begun = time.monotonic()
    for worker in workers:
        worker.start()
    times = size(20, 1000)
    try:
        for i in range(times):
            before = proxy.log().count("is in force")
            house.put_first("b" if i % 2 else "a")
            os.kill(proxy.process.pid, signal.SIGHUP)
            if i:
                assert comes(lambda n=before: proxy.log().count("is in force") > n)
    finally:
        stop.set()
        for worker in workers:
            worker.join()
    took_s = time.monotonic() - begun
    print(
        f"\n{times} reloads in {took_s:.0f} s under {sum(seen.values()) / took_s:.0f} requests a "
        f"second: {sum(seen.values())} served, by {dict(seen)}, {len(wrong)} failed"
    )
    assert wrong == []
    assert set(seen) == {"a", "b"}
    assert costs == {"0.00000002"}
    assert proxy.process.poll() is None
