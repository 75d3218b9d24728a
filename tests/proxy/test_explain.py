"""`explain` tells the truth: the running proxy tries deployments in the order that it prints."""

from __future__ import annotations

import json
from collections import Counter
from itertools import groupby
from pathlib import Path
from typing import Any

import pytest

from router_config.cli import main
from router_config.sandbox import Sandbox
from tests.proxy import configs
from tests.proxy.answers import calls
from tests.proxy.harness import Proxy
from tests.sizes import size

BASE: dict[str, Any] = {"input": "text", "dimensions": 32}


class Explain:
    """The command, on the config of the shared proxy."""

    def __init__(self, config: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self._config = config
        self._capsys = capsys

    def __call__(self, group: str, *more: str) -> list[dict[str, Any]]:
        self._capsys.readouterr()
        assert main(["explain", group, "--config", str(self._config), "--format=json", *more]) == 0
        rows: list[dict[str, Any]] = json.loads(self._capsys.readouterr().out)
        return rows

    def levels(self, group: str, *more: str) -> list[set[str]]:
        """Return the providers that may be tried, level after level."""
        ready = [row for row in self(group, *more) if row["refused"] is None]
        levels = groupby(ready, key=lambda row: (row["group"], row["order"]))
        return [{row["provider"] for row in level} for _, level in levels]


@pytest.fixture
def explain(
    sandbox: Sandbox,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> Explain:
    for name, value in configs.environ(sandbox).items():
        monkeypatch.setenv(name, value)
    return Explain(configs.write(sandbox, tmp_path / "config.yaml"), capsys)


def tried(box: Sandbox) -> list[str]:
    """Return the providers in the order in which they were called."""
    entries = [entry for name in configs.PROVIDERS for entry in box.journal(name)]
    return [entry["provider"] for entry in sorted(entries, key=lambda entry: entry["time"])]


def fail_all(box: Sandbox) -> None:
    for provider in configs.PROVIDERS:
        box.fault(provider, "status", status=503)


def in_levels(order: list[str], levels: list[set[str]]) -> bool:
    """Tell whether *order* goes through *levels* one after the other, each as far as it lasts."""
    for level in levels:
        part, order = order[: len(level)], order[len(level) :]
        if not set(part) <= level or (order and set(part) != level):
            return False
    return not order


@pytest.mark.parametrize(
    "group", [*configs.MIXES, "capped", "with-fallback", "with-fallback-alias", "small-first"]
)
def test_the_proxy_tries_in_the_printed_order(
    proxy: Proxy, box: Sandbox, explain: Explain, group: str
) -> None:
    levels = explain.levels(group)
    assert len({name for level in levels for name in level}) > 1
    for _ in range(size(3, 20)):
        box.reset()
        fail_all(box)
        proxy.post({"model": group, **BASE})
        order = tried(box)
        assert len(order) == len(set(order)) > 1
        assert in_levels(order, levels), (order, levels)


def test_what_is_refused_is_not_tried(proxy: Proxy, box: Sandbox, explain: Explain) -> None:
    fail_all(box)
    refused = {row["provider"]: row["refused"] for row in explain("regions", "--region", "eu")}
    assert refused == {"deepinfra": "outside region eu", "nebius": None}
    proxy.post({"model": "regions", **BASE}, key=configs.KEYS["eu-only"])
    assert tried(box) == ["nebius"]


def test_length_decides_in_both_alike(proxy: Proxy, box: Sandbox, explain: Explain) -> None:
    assert explain.levels("small-first", "--tokens", "32000") == [{"scaleway"}, {"vllm"}]
    assert explain.levels("small-first", "--tokens", "32001") == [{"vllm"}]
    for tokens in (32_000, 32_001):
        text = " hello" * (tokens - 1)
        assert proxy.post({"model": "small-first", **BASE, "input": text}).status_code == 200
    assert tried(box) == ["scaleway", "vllm"]


def test_a_deployment_that_is_off_is_shown_with_its_variable(
    proxy: Proxy, box: Sandbox, explain: Explain
) -> None:
    (row,) = explain("nobody")
    assert row["refused"] == f"{configs.UNSET} is not set"
    assert proxy.post({"model": "nobody", **BASE}).status_code == 503
    assert calls(box) == {}


def test_shares_are_those_of_the_traffic(proxy: Proxy, box: Sandbox, explain: Explain) -> None:
    shares = {row["provider"]: row["share"] for row in explain("mix-1111")}
    assert sum(shares.values()) == pytest.approx(1)
    asked = size(80, 1000)
    for _ in range(asked):
        proxy.post({"model": "mix-1111", **BASE})
    found = Counter(tried(box))
    # Five standard deviations: wrong once in two million runs.
    for provider, share in shares.items():
        spread = 5 * (share * (1 - share) / asked) ** 0.5
        assert abs(found[provider] / asked - share) < spread
